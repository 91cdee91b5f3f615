//! `compose set`: other limits for what runs, without a restart, and those that are in force.

use std::collections::BTreeMap;

use composer_stack::{Lacking, OomPolicy, Setting, default_of, key_of, show_bytes};
use composer_supervisor::client::Client;
use composer_supervisor::host::{self, Held, InForce, Source};
use composer_supervisor::protocol::{self, Request};

use super::context::Context;
use super::{Error, Result, work};
use crate::options::{OnShortage, Set, TableFormat};
use crate::render::table;

/// Changes limits.
pub fn run(context: &mut Context, verb: Set) -> Result {
    let stack = context.project()?;
    let (oom, victim) = match verb.oom {
        Some(OnShortage::Policy(policy)) => (Some(policy), None),
        Some(OnShortage::Victim(victim)) => (None, Some(victim)),
        None => (None, None),
    };
    let limits = Setting {
        memory: verb.memory,
        memory_reservation: verb.memory_reservation,
        memory_swap: verb.memory_swap,
        memory_high: verb.memory_high,
        cpus: verb.cpus,
        cpu_shares: verb.cpu_shares,
        cpuset: verb.cpuset,
        pids: verb.pids,
        cpu_burst: verb.cpu_burst,
        cpuset_mems: verb.cpuset_mems,
        io_weight: verb.blkio_weight,
        oom,
        victim,
    };
    if limits.is_empty() && !verb.reset {
        return print(context, &stack, &verb.services, verb.format);
    }
    check(&limits, verb.services.is_empty(), verb.reset)?;
    let asked = limits.fields();
    let Some(client) = Client::find(&stack)? else {
        return Err(Error::Usage(format!(
            "stack {stack} is not up: `set` changes the limits of what runs, the file those of what is made"
        )));
    };
    let (services, force, reset, dry_run) = (verb.services, verb.force, verb.reset, verb.dry_run);
    let of: String = services.iter().map(|service| format!(" {service}")).collect();
    let wanted = services.clone();
    let request = Request::Set(protocol::Set { services, limits, force, reset, dry_run });
    client.send(&request, &[])?;
    let mut progress = context.progress(&stack, "set", true);
    work::receive(&client, &mut progress, context)?;
    let is_changed = !progress.is_blank;
    progress.finish();
    if is_changed && !reset && !dry_run {
        context.out.note(&format!(
            "what is set stands until the file says something else of it: `compose set --reset{of}` takes the file's again"
        ));
    } else if !is_changed {
        tell_unchanged(context, &stack, &wanted, &asked)?;
    }
    Ok(0)
}

/// Says that nothing was to be done, and what of the limits that were named is in force.
fn tell_unchanged(context: &mut Context, stack: &str, services: &[String], asked: &[String]) -> Result<()> {
    let limited = host::limits(stack, services)?.unwrap_or_default();
    let mut told = Vec::new();
    for one in &limited {
        let name = one.service.as_deref().unwrap_or("the stack");
        for field in asked {
            let given = one.limits.iter().find(|limit| limit.field == *field);
            let text = match given {
                Some(limit) => format!("{} of {name} is {} as it is", limit.key, limit.value),
                None => {
                    let key = key_of(field, one.service.is_none());
                    format!("{key} of {name} is {} as it is", default_of(&key).unwrap_or("no limit"))
                }
            };
            if !told.contains(&text) {
                told.push(text);
            }
        }
    }
    let why = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
    context.out.note(&format!("{}{why}", composer_plan::NOTHING));
    Ok(())
}

/// Prints the limits that are in force.
fn print(context: &mut Context, stack: &str, services: &[String], format: TableFormat) -> Result {
    let Some(limited) = host::limits(stack, services)? else {
        return Err(Error::Usage(format!("stack {stack} is not up: it has no limits in force")));
    };
    let known = limited.iter().filter_map(|one| one.service.as_deref()).collect();
    context.check_names(services, &known)?;
    match format {
        TableFormat::Json => {
            for one in &limited {
                context.out.line(&json(one)).map_err(Error::Output)?;
            }
        }
        TableFormat::Table => {
            let rows: Vec<Vec<String>> = limited.iter().flat_map(rows).collect();
            if rows.is_empty() {
                context.out.note("no limits are given: what is around it bounds it alone");
                return Ok(0);
            }
            let text = table::render_narrow(&["NAME", "LIMIT", "VALUE", "FROM", "KERNEL"], &rows);
            context.out.data(text.as_bytes()).map_err(Error::Output)?;
        }
    }
    Ok(0)
}

fn rows(one: &Held) -> Vec<Vec<String>> {
    let row = |limit: &InForce| {
        let kernel = limit.kernel.iter().map(|(file, text)| format!("{file}={text}"));
        let kernel = kernel.collect::<Vec<_>>().join(", ");
        let from = word(limit.source).to_owned();
        vec![one.name.clone(), limit.key.clone(), limit.value.clone(), from, kernel]
    };
    one.limits.iter().map(row).collect()
}

fn json(one: &Held) -> String {
    let limit = |limit: &InForce| {
        let kernel: BTreeMap<&str, &str> =
            limit.kernel.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        serde_json::json!({
            "Key": limit.key,
            "Value": limit.value,
            "From": word(limit.source),
            "Kernel": kernel,
        })
    };
    let limits: Vec<_> = one.limits.iter().map(limit).collect();
    serde_json::json!({ "Name": one.name, "Service": one.service, "Limits": limits }).to_string()
}

fn word(source: Source) -> &'static str {
    match source {
        Source::File => "file",
        Source::Set => "set",
        Source::Raised => "raised",
    }
}

/// What needs no supervisor to be refused.
fn check(limits: &Setting, stack: bool, reset: bool) -> Result<()> {
    let refuse = |why: String| Err(Error::Usage(why));
    if reset && !limits.is_empty() {
        return refuse("`--reset` takes all limits of the file again: leave the others out".to_owned());
    }
    let of_services =
        limits.cpu_shares.is_some() || limits.memory_high.is_some() || limits.cpu_burst.is_some();
    if stack && of_services {
        return refuse(
            "--cpu-shares, --cpu-burst and --memory-high are those of services: name one".to_owned(),
        );
    }
    if stack && limits.oom.is_some() {
        return refuse(
            "a policy is that of services: name one; of the stack `--oom` may be priority, biggest or newest"
                .to_owned(),
        );
    }
    if !stack && limits.victim.is_some() {
        return refuse(
            "whose container goes first is the stack's to say: `compose set --stack --oom …`".to_owned(),
        );
    }
    let Some(host) = crate::host::facts() else { return Ok(()) };
    if (limits.oom.is_some() || limits.victim.is_some()) && host.lacks.contains(&Lacking::Memory) {
        return refuse(
            "this host's control groups have no memory controller: nothing goes by --oom".to_owned(),
        );
    }
    if limits.oom == Some(OomPolicy::Pause) && host.lacks.contains(&Lacking::Freezer) {
        return refuse("this host cannot do `pause`: it has no freezer".to_owned());
    }
    #[expect(clippy::cast_precision_loss, reason = "numbers of CPUs are small")]
    if let Some(cpus) = limits.cpus.filter(|cpus| *cpus > host.cpus_online.len() as f64) {
        return refuse(format!("{cpus} CPUs are more than the {} of this host", host.cpus_online.len()));
    }
    let raised = match limits.oom {
        Some(OomPolicy::Raise { max, .. }) => Some(max),
        Some(OomPolicy::Kill | OomPolicy::KillGroup | OomPolicy::Pause) | None => None,
    };
    let amounts = [limits.memory, limits.memory_reservation, limits.memory_high, raised];
    for bytes in amounts.into_iter().flatten() {
        if bytes > host.memory {
            let (bytes, memory) = (show_bytes(bytes), show_bytes(host.memory));
            return refuse(format!("{bytes} of memory are more than the {memory} of this host"));
        }
    }
    if let Some(list) = limits.cpuset.as_deref().filter(|list| !list.is_empty())
        && host::cpus::list(list).is_some_and(|cpus| !cpus.is_subset(&host.cpus_online))
    {
        return refuse(format!("CPUs {list} are not all online on this host"));
    }
    if let (Some(list), Some(known)) = (limits.cpuset_mems.as_deref(), &host.memory_nodes)
        && !list.is_empty()
        && host::cpus::list(list).is_some_and(|nodes| !nodes.is_subset(known))
    {
        return refuse(format!("memory nodes {list} are not all online on this host"));
    }
    Ok(())
}
