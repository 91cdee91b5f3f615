//! `compose create`.

use composer_stack::Purpose;

use super::context::Context;
use super::{Result, creating, up};
use crate::options::{Create, Renewal};

/// Makes containers and does not start them.
pub fn run(context: &mut Context, verb: Create) -> Result {
    let renewal = Renewal { no_start: true, ..Renewal::default() };
    creating::check(&verb.creation, &renewal)?;
    let scales = creating::scales("--scale option", &verb.creation.scale)?;
    let mut loaded = context.load(Purpose::Run, |options| options.enabled.clone_from(&verb.services))?;
    creating::scale(&mut loaded.stack, &scales)?;
    let options = creating::options(context, &loaded, &verb.services, &verb.creation, &renewal)?;
    let images = creating::images(&verb.services, &verb.creation, false, verb.dry_run);
    context.bring(&mut loaded.stack, images)?;
    let request = up::request(context, loaded.stack, options, verb.dry_run);
    up::detached(context, "create", request)
}
