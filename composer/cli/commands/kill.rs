//! `compose kill`: a signal to containers.

use std::collections::BTreeSet;

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, ContainerStatus, Request};

use super::context::{self, Context};
use super::{Result, work};
use crate::options::Kill;

/// Sends the signal. Without names it goes to every service of the file; where there is no file, or with
/// `--remove-orphans`, to every container that runs.
pub fn run(context: &mut Context, verb: Kill) -> Result {
    let stack = context.project()?;
    let containers = context::containers(&stack)?;
    context.check_services(&verb.services, &containers)?;
    let orphans = verb.remove_orphans || !verb.services.is_empty();
    let named = if orphans { None } else { context.active()? };
    let targets: Vec<ContainerStatus> = containers
        .into_iter()
        .filter(|container| container.state.is_live())
        .filter(|container| verb.services.is_empty() || verb.services.contains(&container.service))
        .filter(|container| named.as_ref().is_none_or(|named| named.contains(&container.service)))
        .collect();
    if verb.dry_run {
        return work::would(context, "kill", &targets, &format!("it is sent signal {}", verb.signal));
    }
    let targets: BTreeSet<String> = targets.into_iter().map(|container| container.service).collect();
    let client = if targets.is_empty() { None } else { Client::find(&stack)? };
    let Some(client) = client else {
        context.out.note("no container to kill");
        return Ok(0);
    };
    let request = protocol::Kill { services: targets.into_iter().collect(), signal: verb.signal };
    work::ask_of(context, &client, &stack, "kill", &Request::Kill(request))
}
