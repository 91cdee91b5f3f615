//! `compose down`.

use std::time::Duration;

use composer_supervisor::client::Client;
use composer_supervisor::paths;
use composer_supervisor::protocol::{self, Request};

use super::context::Context;
use super::{Result, work};
use crate::options::Down;

/// Takes a stack away. It needs the project's name only, so it works where the file is wrong or gone.
pub fn run(context: &mut Context, verb: Down) -> Result {
    let stack = context.project()?;
    let Some(services) = context.named(&stack, &verb.services)? else {
        return work::idle(context, &stack, "down", verb.dry_run);
    };
    let named = if verb.volumes && services.is_empty() { context.volumes()? } else { Vec::new() };
    let found = match Client::find(&stack)? {
        // Volumes outlive everything else of a stack.
        None if named.iter().any(|name| paths::volume(name).is_dir()) => Some(Client::find_or_start(&stack)?),
        found => found,
    };
    let Some(client) = found else {
        if verb.dry_run {
            return work::idle(context, &stack, "down", true);
        }
        context.out.warning(&format!("No resource found to remove for project \"{stack}\"."));
        return Ok(0);
    };
    let request = Request::Down(protocol::Down {
        services,
        timeout: verb.timeout.map(Duration::from_secs),
        volumes: verb.volumes,
        named,
        dry_run: verb.dry_run,
    });
    work::ask_of(context, &client, &stack, "down", &request)
}
