//! `compose pause` and `compose unpause`.

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Request, State};

use super::context::Context;
use super::{Result, work};
use crate::options::Pause;

/// Holds containers where they are, or lets them go on.
pub fn run(context: &mut Context, verb: Pause, hold: bool) -> Result {
    let stack = context.project()?;
    // As in Docker Compose: there is nothing to hold.
    let Some(services) = context.present(&stack, &verb.services)? else { return Ok(0) };
    let Some(client) = Client::find(&stack)? else { return Ok(0) };
    if verb.dry_run {
        let mut containers = super::context::containers(&stack)?;
        let (from, verb_name, cause) = match hold {
            true => (State::Running, "pause", "it runs"),
            false => (State::Paused, "unpause", "it is held"),
        };
        containers.retain(|container| {
            let wanted = services.is_empty() || services.contains(&container.service);
            wanted && container.state == from
        });
        return work::would(context, verb_name, &containers, cause);
    }
    client.send(&Request::Pause(protocol::Pause { services, hold }), &[])?;
    let mut progress = context.progress(&stack, if hold { "pause" } else { "unpause" }, true);
    let done = work::receive(&client, &mut progress, context);
    progress.finish();
    done.map(|_| 0)
}
