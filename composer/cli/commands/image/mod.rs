//! `compose image`: the images of this host, with the verbs of `docker image`. No process is started for it.

mod filter;
mod inspect;
mod list;
mod removal;

use composer_supervisor::host::images::{self, Pull, PullPolicy, Push, Stored};

use super::context::Context;
use super::{Error, Result, doing, pulling};
use crate::options::{Image, ImagePull, ImagePush, ImageTag, ImageVerb};
use crate::render::Way;
use crate::time;

/// As many digits of an id are shown as Docker shows.
pub const SHORT: usize = 12;

/// What is done with images.
pub fn run(context: &mut Context, verb: Image) -> Result {
    match verb.verb {
        ImageVerb::Ls(verb) => list::run(context, &verb),
        ImageVerb::Pull(verb) => pull(context, verb),
        ImageVerb::Push(verb) => push(context, &verb),
        ImageVerb::Tag(verb) => tag(&verb),
        ImageVerb::Rm(verb) => removal::remove(context, &verb),
        ImageVerb::Prune(verb) => removal::prune(context, &verb),
        ImageVerb::Inspect(verb) => inspect::run(context, &verb),
    }
}

fn pull(context: &mut Context, verb: ImagePull) -> Result {
    let default = context.caller.environment.get("DOCKER_DEFAULT_PLATFORM").cloned();
    let platform = verb.platform.or(default.filter(|platform| !platform.is_empty()));
    let policy = PullPolicy::Always;
    let pulls: Vec<Pull> = verb
        .images
        .iter()
        .map(|image| Pull { reference: image.clone(), platform: platform.clone(), policy })
        .collect();
    let mut progress = context.pulls(Way::Pull, verb.quiet);
    let folder = std::env::current_dir().map_err(doing("find the current folder"))?;
    let outcome = pulling::pull(context, &mut progress, pulls, folder)?;
    let mut failures = Vec::new();
    for result in outcome {
        match result {
            Ok(image) => context.out.line(&image.reference).map_err(Error::Output)?,
            Err(error) => failures.push(error),
        }
    }
    Ok(pulling::end(context, failures))
}

fn push(context: &mut Context, verb: &ImagePush) -> Result {
    let mut progress = context.pulls(Way::Push, verb.quiet);
    let platform = verb.platform.as_deref();
    let pushes = verb.images.iter().map(|image| Push::new(image, platform)).collect();
    let outcome = pulling::push(context, &mut progress, pushes)?;
    let mut failures = Vec::new();
    for (image, result) in verb.images.iter().zip(outcome) {
        match result {
            Ok(digest) => context.out.line(&format!("{image}: digest: {digest}")).map_err(Error::Output)?,
            Err(error) => failures.push(error),
        }
    }
    Ok(pulling::end(context, failures))
}

fn tag(verb: &ImageTag) -> Result {
    let folder = std::env::current_dir().map_err(doing("find the current folder"))?;
    images::tag(&verb.source, &verb.target, &folder)?;
    Ok(0)
}

/// When an image was made, as it says: nanoseconds since the Unix epoch.
pub fn created(image: &Stored) -> Option<u64> {
    time::parse(image.config.created.as_deref()?, 0).ok()
}

/// `2 weeks ago`; what says nothing counts as Docker counts it.
pub fn since(created: Option<u64>) -> String {
    created.map_or_else(
        || "N/A".to_owned(),
        |made| format!("{} ago", time::human(time::between(made, time::now()))),
    )
}
