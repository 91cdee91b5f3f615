//! `compose set`: other limits for what runs, without a restart.

use composer_stack::{Setting, show_bytes};
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Request};

use super::context::Context;
use super::{Error, Result, work};
use crate::host;
use crate::options::Set;

/// Changes limits.
pub fn run(context: &mut Context, verb: Set) -> Result {
    let stack = context.project()?;
    let limits = Setting {
        memory: verb.memory,
        memory_reservation: verb.memory_reservation,
        memory_swap: verb.memory_swap,
        memory_high: verb.memory_high,
        cpus: verb.cpus,
        cpu_shares: verb.cpu_shares,
        cpuset: verb.cpuset,
        pids: verb.pids,
    };
    check(&limits, verb.services.is_empty(), verb.reset)?;
    let Some(client) = Client::find(&stack)? else {
        return Err(Error::Usage(format!(
            "stack {stack} is not up: `set` changes the limits of what runs, the file those of what is made"
        )));
    };
    let (services, force, reset, dry_run) = (verb.services, verb.force, verb.reset, verb.dry_run);
    let of: String = services.iter().map(|service| format!(" {service}")).collect();
    let request = Request::Set(protocol::Set { services, limits, force, reset, dry_run });
    let status = work::ask_of(context, &client, &stack, "set", &request)?;
    if !reset && !dry_run {
        context.out.note(&format!(
            "these limits stand until the file says something else of them: `compose set --reset{of}` takes the file's again"
        ));
    }
    Ok(status)
}

/// What needs no supervisor to be refused.
fn check(limits: &Setting, stack: bool, reset: bool) -> Result<()> {
    let refuse = |why: String| Err(Error::Usage(why));
    if reset != limits.is_empty() {
        return refuse(if reset {
            "`--reset` takes all limits of the file again: leave the others out".to_owned()
        } else {
            "which limit? Give one of --memory, --cpus, --pids and so on: see `compose set --help`".to_owned()
        });
    }
    if stack && (limits.cpu_shares.is_some() || limits.memory_high.is_some()) {
        return refuse("--cpu-shares and --memory-high are those of services: name one".to_owned());
    }
    let Some(host) = host::facts() else { return Ok(()) };
    #[expect(clippy::cast_precision_loss, reason = "numbers of CPUs are small")]
    if let Some(cpus) = limits.cpus.filter(|cpus| *cpus > host.cpus_online.len() as f64) {
        return refuse(format!("{cpus} CPUs are more than the {} of this host", host.cpus_online.len()));
    }
    for bytes in [limits.memory, limits.memory_reservation].into_iter().flatten() {
        if bytes > host.memory {
            let (bytes, memory) = (show_bytes(bytes), show_bytes(host.memory));
            return refuse(format!("{bytes} of memory are more than the {memory} of this host"));
        }
    }
    if let Some(list) = limits.cpuset.as_deref().filter(|list| !list.is_empty())
        && host::cpus(list).is_some_and(|cpus| !cpus.is_subset(&host.cpus_online))
    {
        return refuse(format!("CPUs {list} are not all online on this host"));
    }
    Ok(())
}
