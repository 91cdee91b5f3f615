//! `compose scale`.

use composer_stack::Purpose;

use super::context::Context;
use super::{Result, creating, up};
use crate::options::{Creation, Renewal, Scale};

/// Changes how many containers services have.
pub fn run(context: &mut Context, verb: Scale) -> Result {
    let scales = creating::scales("scale specifier", &verb.scale)?;
    let services: Vec<String> = scales.keys().cloned().collect();
    let mut loaded = context.load(Purpose::Run, |options| options.enabled.clone_from(&services))?;
    creating::scale(&mut loaded.stack, &scales)?;
    let renewal = Renewal { no_deps: verb.no_deps, ..Renewal::default() };
    let options = creating::options(context, &loaded, &services, &Creation::default(), &renewal)?;
    let images = creating::images(&services, &Creation::default(), verb.no_deps, verb.dry_run);
    context.bring(&mut loaded.stack, images)?;
    let request = up::request(context, loaded.stack, options, verb.dry_run);
    up::detached(context, "scale", request)
}
