//! `compose pause` and `compose unpause`.

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Request, State};

use super::context::Context;
use super::{Result, work};
use crate::options::Pause;

/// Holds containers where they are, or lets them go on.
pub fn run(context: &mut Context, verb: Pause, hold: bool) -> Result {
    let stack = context.project()?;
    let (title, from, cause) = match hold {
        true => ("pause", State::Running, "it runs"),
        false => ("unpause", State::Paused, "it is held"),
    };
    // As in Docker Compose, this is no failure.
    let Some(services) = context.present(&stack, &verb.services)? else {
        return work::idle(context, &stack, title, verb.dry_run);
    };
    let Some(client) = Client::find(&stack)? else {
        return work::idle(context, &stack, title, verb.dry_run);
    };
    if verb.dry_run {
        let mut containers = super::context::containers(&stack)?;
        containers.retain(|container| {
            let wanted = services.is_empty() || services.contains(&container.service);
            wanted && container.state == from
        });
        return work::would(context, title, &containers, cause);
    }
    work::ask_of(context, &client, &stack, title, &Request::Pause(protocol::Pause { services, hold }))
}
