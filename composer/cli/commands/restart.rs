//! `compose restart`.

use std::time::Duration;

use composer_supervisor::protocol::{self, Request};

use super::context::Context;
use super::{Result, work};
use crate::options::Restart;

/// Stops containers and starts them again.
pub fn run(context: &mut Context, verb: Restart) -> Result {
    let stack = context.project()?;
    let Some(services) = context.present(&stack, &verb.services)? else {
        return work::idle(context, &stack, "restart", verb.dry_run);
    };
    let request = Request::Restart(protocol::Restart {
        services,
        no_deps: verb.no_deps,
        timeout: verb.timeout.map(Duration::from_secs),
        dry_run: verb.dry_run,
    });
    work::ask(context, &stack, "restart", &request)
}
