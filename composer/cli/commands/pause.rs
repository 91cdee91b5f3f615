//! `compose pause` and `compose unpause`.

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Request, State};

use super::context::Context;
use super::{Result, work};
use crate::options::Pause;

/// Holds containers where they are, or lets them go on.
pub fn run(context: &mut Context, verb: Pause, hold: bool) -> Result {
    let stack = context.project()?;
    let Some(client) = Client::find(&stack)? else {
        context.check_services(&verb.services, [])?;
        // As in Docker Compose: there is nothing to hold.
        return Ok(0);
    };
    let mut containers = super::context::containers(&stack)?;
    context.check_services(&verb.services, &containers)?;
    if verb.dry_run {
        let (from, verb_name, cause) = match hold {
            true => (State::Running, "pause", "it runs"),
            false => (State::Paused, "unpause", "it is held"),
        };
        containers.retain(|container| {
            let wanted = verb.services.is_empty() || verb.services.contains(&container.service);
            wanted && container.state == from
        });
        return work::would(context, verb_name, &containers, cause);
    }
    client.send(&Request::Pause(protocol::Pause { services: verb.services, hold }), &[])?;
    let mut progress = context.progress(&stack, if hold { "pause" } else { "unpause" }, true);
    let done = work::receive(&client, &mut progress, context);
    progress.finish();
    done.map(|_| 0)
}
