//! `compose pull`: brings the images of services, all at once.

use std::collections::BTreeMap;

use composer_stack::ServiceImage;
use composer_supervisor::host::images::{self, Error as ImageError, Pull, PullPolicy};
use composer_supervisor::protocol::Failure;

use super::context::Context;
use super::{Error, Result, pulling};
use crate::options::{PullImages, PullWhen};
use crate::render::{Step, Way};

/// What becomes of a service's image.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Pulled(Pull),
    /// Another service has the same.
    Shared,
    /// Why it is not pulled.
    Skipped(&'static str),
}

/// Pulls what the files name.
pub fn run(context: &mut Context, verb: &PullImages) -> Result {
    let (loaded, services) = pulling::chosen(context, &verb.services, verb.include_deps)?;
    let mut built = BTreeMap::new();
    let mut progress = context.pulls(Way::Pull, verb.quiet);
    let (mut pulls, mut places) = (Vec::new(), Vec::new());
    for service in loaded.service_images(&services) {
        match fate(&service, verb, &pulls) {
            Fate::Pulled(pull) => {
                places.push(["services", &service.service, "image"].map(str::to_owned).to_vec());
                if service.is_built {
                    built.insert(pull.reference.clone(), service.service);
                }
                pulls.push(pull);
            }
            Fate::Shared => {}
            Fate::Skipped(why) => {
                let name = service.image.unwrap_or(service.service);
                progress.step(&name, &Step::Skipped(why.to_owned()), &mut context.out);
            }
        }
    }
    for (reference, platform) in loaded.other_images(&services) {
        let is_known = |pull: &Pull| (&pull.reference, &pull.platform) == (&reference, &platform);
        if !pulls.iter().any(is_known) {
            let policy = match verb.policy {
                Some(PullWhen::Missing) => missing(&reference),
                Some(PullWhen::Always) | None => PullPolicy::Always,
            };
            pulls.push(Pull { reference, platform, policy });
        }
    }
    let names: Vec<String> = pulls.iter().map(|pull| pull.reference.clone()).collect();
    if verb.dry_run {
        names.iter().for_each(|name| progress.step(name, &Step::Asked, &mut context.out));
        progress.finish();
        return Ok(0);
    }
    let folder = loaded.stack.directory.clone();
    let outcome = pulling::pull(context, &mut progress, pulls, folder)?;
    // What is beside the services' own images has no place here.
    let places = places.into_iter().map(Some).chain(std::iter::repeat(None));
    let failures: Vec<Failed> = names
        .into_iter()
        .zip(outcome)
        .zip(places)
        .filter_map(|((image, result), at)| Some(Failed { image, error: result.err()?, at }))
        .collect();
    Ok(end(context, failures, &built, verb.ignore_pull_failures))
}

/// An image that could not be pulled.
struct Failed {
    image: String,
    error: ImageError,
    /// Where a file asks for it, as keys.
    at: Option<Vec<String>>,
}

/// Tells of all that failed. What can be built instead is a failure too, as in Docker Compose, with a way out.
fn end(context: &mut Context, failures: Vec<Failed>, built: &BTreeMap<String, String>, ignored: bool) -> u8 {
    let to_build: Vec<&str> =
        failures.iter().filter_map(|failed| built.get(&failed.image)).map(String::as_str).collect();
    if !to_build.is_empty() {
        let services = to_build.join(" ");
        context.out.warning(&format!("images of these services are to be built from source: {services}"));
    }
    if ignored {
        failures.iter().for_each(|failed| context.out.warning(&failed.error.to_string()));
        return 0;
    }
    let codes = failures.into_iter().map(|failed| {
        let failure = Failure::new(failed.error.to_string(), 1);
        context.tell(&Error::Refused(Failure { at: failed.at.unwrap_or_default(), ..failure }))
    });
    codes.fold(0, u8::max)
}

fn fate(service: &ServiceImage, verb: &PullImages, before: &[Pull]) -> Fate {
    let skipped = Fate::Skipped;
    let Some(image) = &service.image else { return skipped("No image to be pulled") };
    let of_file = service.pull_policy.as_deref();
    let policy = match (verb.policy, of_file) {
        (Some(PullWhen::Always), _) => PullPolicy::Always,
        (Some(PullWhen::Missing), _) | (None, Some("missing" | "if_not_present")) => missing(image),
        (None, Some("never")) => return skipped("Its pull policy is never"),
        (None, Some("build")) => return skipped("Its pull policy is build"),
        // Whoever says `pull` means now, whatever `daily` and its like say.
        (None, Some(_) | None) => PullPolicy::Always,
    };
    if service.is_built && verb.ignore_buildable {
        return skipped("Image can be built");
    }
    let pull = Pull { reference: image.clone(), platform: service.platform.clone(), policy };
    if before.iter().any(|other| other.reference == pull.reference && other.platform == pull.platform) {
        return Fate::Shared;
    }
    Fate::Pulled(pull)
}

/// `latest` is what changes, and is asked for even where there is one, as in Docker Compose.
fn missing(image: &str) -> PullPolicy {
    let name = images::Name::of(image);
    match (name.tag.as_deref(), name.digest) {
        (Some("latest"), None) => PullPolicy::Always,
        _ => PullPolicy::Missing,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Options, Verb};

    fn fate_of(args: &[&str], image: Option<&str>, policy: Option<&str>, is_built: bool) -> Fate {
        let args = ["compose", "pull"].iter().chain(args);
        let Verb::Pull(verb) = Options::parse_from(args).verb else { panic!("not pull") };
        let service = ServiceImage {
            service: "a".to_owned(),
            image: image.map(str::to_owned),
            platform: None,
            pull_policy: policy.map(str::to_owned),
            is_built,
        };
        fate(&service, &verb, &[])
    }

    #[test]
    fn what_is_pulled_and_what_is_not() {
        let pulled =
            |image: &str, policy| Fate::Pulled(Pull { reference: image.to_owned(), platform: None, policy });
        let skipped = Fate::Skipped;
        let (always, missing) = (PullPolicy::Always, PullPolicy::Missing);
        assert_eq!(fate_of(&[], Some("a:1"), None, false), pulled("a:1", always));
        assert_eq!(fate_of(&[], Some("a:1"), Some("daily"), false), pulled("a:1", always));
        assert_eq!(fate_of(&[], Some("a:1"), Some("missing"), false), pulled("a:1", missing));
        assert_eq!(fate_of(&[], Some("a"), Some("if_not_present"), false), pulled("a", always));
        assert_eq!(
            fate_of(&["--policy", "missing"], Some("a:1"), Some("never"), false),
            pulled("a:1", missing)
        );
        assert_eq!(fate_of(&[], Some("a:1"), Some("never"), false), skipped("Its pull policy is never"));
        assert_eq!(fate_of(&[], None, None, false), skipped("No image to be pulled"));
        assert_eq!(fate_of(&[], Some("a"), None, true), pulled("a", always));
        assert_eq!(fate_of(&["--ignore-buildable"], Some("a"), None, true), skipped("Image can be built"));
    }
}
