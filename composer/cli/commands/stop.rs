//! `compose stop`.

use std::time::Duration;

use composer_supervisor::protocol::{self, Request};

use super::context::Context;
use super::{Result, work};
use crate::options::Stop;

/// Ends the programs and leaves their containers.
pub fn run(context: &mut Context, verb: Stop) -> Result {
    let stack = context.project()?;
    let Some(services) = context.present(&stack, &verb.services)? else {
        return work::idle(context, &stack, "stop", verb.dry_run);
    };
    let timeout = verb.timeout.map(Duration::from_secs);
    let request = Request::Stop(protocol::Stop { services, timeout, dry_run: verb.dry_run, shutdown: false });
    work::ask(context, &stack, "stop", &request)
}
