//! `compose start`.

use std::time::Duration;

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Request};

use super::context::{self, Context};
use super::{Error, Result, work};
use crate::options::Start;

/// Starts containers that exist.
pub fn run(context: &mut Context, verb: Start) -> Result {
    let stack = context.project()?;
    if !verb.services.is_empty() {
        let containers = context::containers(&stack)?;
        context.check_services(&verb.services, &containers)?;
    }
    if Client::find(&stack)?.is_none() {
        let what = match verb.services.first() {
            Some(service) => format!("service {service:?}"),
            None => format!("stack {stack}"),
        };
        return Err(Error::Usage(format!(
            "{what} has no container to start: `compose up` and `compose create` make one"
        )));
    }
    let request = Request::Start(protocol::Start {
        services: verb.services,
        wait: verb.wait,
        wait_timeout: verb.wait_timeout.map(Duration::from_secs),
        dry_run: verb.dry_run,
    });
    work::ask(context, &stack, "start", &request)
}
