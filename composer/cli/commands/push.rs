//! `compose push`: the images of services that are built go to their registries. Others have come from there, as in Docker
//! Compose.

use composer_supervisor::host::images::Push;

use super::context::Context;
use super::{Result, pulling};
use crate::options::PushImages;
use crate::render::{Step, Way};

/// Pushes what the files name.
pub fn run(context: &mut Context, verb: &PushImages) -> Result {
    let (loaded, services) = pulling::chosen(context, &verb.services, verb.include_deps)?;
    let mut progress = context.pulls(Way::Push, verb.quiet);
    let mut pushes: Vec<Push> = Vec::new();
    for service in loaded.service_images(&services) {
        match service.image.filter(|_| service.is_built) {
            Some(image) if pushes.iter().any(|push| push.reference == image) => {}
            Some(image) => pushes.push(Push::new(&image, service.platform.as_deref())),
            None => {
                let why = "It has no image that is built".to_owned();
                progress.step(&service.service, &Step::Skipped(why), &mut context.out);
            }
        }
    }
    if verb.dry_run {
        let names = pushes.iter().map(|push| push.reference.as_str());
        names.for_each(|name| progress.step(name, &Step::Asked, &mut context.out));
        progress.finish();
        return Ok(0);
    }
    let outcome = pulling::push(context, &mut progress, pushes)?;
    let failures: Vec<_> = outcome.into_iter().filter_map(std::result::Result::err).collect();
    if verb.ignore_push_failures {
        failures.iter().for_each(|error| context.out.warning(&error.to_string()));
        return Ok(0);
    }
    Ok(pulling::end(context, failures))
}
