//! The services of a stack get the images that they ask for.

use std::collections::{BTreeMap, BTreeSet};

use composer_image::{Platform, Policy, Reference};
use composer_stack::{self as stack, Condition, ImageSource, Rootfs, Service, Stack};

use super::{Error, Event, Held, Registries, Stop, Wanted, apply, bring, store};

/// Which images are brought, and when.
pub struct Choice<'a> {
    /// Services whose images are brought. Those of others are only looked for.
    pub services: &'a BTreeSet<String>,
    /// Instead of what the services say.
    pub policy: Option<stack::PullPolicy>,
    /// Where nothing is to be done, images are only looked for.
    pub is_dry: bool,
    /// Ends it before it is done.
    pub stop: &'a Stop,
}

/// Why a service cannot have its image.
#[derive(Debug)]
pub struct Failed {
    /// The service.
    pub service: String,
    /// What failed, on what, and why.
    pub message: String,
    /// A way out.
    pub help: Option<String>,
    /// The value of the file that is to blame, as keys.
    pub at: Vec<String>,
}

/// Brings the images that services ask for and gives each service what its image says; how far a pull has come is told
/// with its image. Services that ask for none are left as they are, and so are those whose image is only looked for and
/// is not there. Blocks.
///
/// # Errors
/// What is wrong with each service's image.
pub fn resolve(
    stack: &mut Stack,
    registries: Registries,
    choice: &Choice<'_>,
    progress: &(dyn Fn(&str, Event<'_>) + Sync),
) -> Result<Option<Held>, Vec<Failed>> {
    let mut failed = Vec::new();
    let mut sources: BTreeMap<Wanted, Vec<(String, ImageSource)>> = BTreeMap::new();
    for service in stack.services.values() {
        let Rootfs::Source(source) = &service.rootfs else { continue };
        match wanted(source, &stack.directory) {
            Ok(wanted) => sources.entry(wanted).or_default().push((service.name.clone(), (**source).clone())),
            Err(error) => failed.push(Failed::of(&service.name, &error)),
        }
    }
    if sources.is_empty() && failed.is_empty() {
        return Ok(None);
    }
    let opened = store(registries).and_then(|store| Ok((Held(store.hold()?), store)));
    let (held, store) = match opened {
        Ok((held, store)) => (held, store.with_stop(choice.stop.clone())),
        Err(error) => {
            let first = sources.values().flatten().map(|(service, _)| service).next();
            failed.extend(first.map(|service| Failed::of(service, &error)));
            return Err(failed);
        }
    };
    let (all, services): (Vec<_>, Vec<_>) = sources
        .into_iter()
        .map(|(wanted, services)| {
            let policy = policy(&services, choice);
            ((wanted, policy.unwrap_or(Policy::Never)), (services, policy.is_some()))
        })
        .unzip();
    let names: Vec<String> = all.iter().map(|(wanted, _)| wanted.reference.familiar()).collect();
    let images = bring(&store, &all, &|place, event| progress(&names[place], event));
    for (result, (services, is_needed)) in images.into_iter().zip(services) {
        match result {
            Ok(image) => services.iter().for_each(|(name, source)| {
                if let Some(service) = stack.services.get_mut(name) {
                    give(service, source, &image);
                    failed.extend(nothing_to_run(service, choice));
                }
            }),
            Err(Error::Absent { .. }) if !is_needed => {}
            Err(error) => {
                let of_choice = services.iter().filter(|(name, _)| choice.services.contains(name));
                failed.extend(of_choice.map(|(name, _)| Failed::of(name, &error)));
            }
        }
    }
    failed.extend(waits_in_vain(stack, choice));
    if failed.is_empty() { Ok(Some(held)) } else { Err(failed) }
}

fn wanted(source: &ImageSource, folder: &std::path::Path) -> Result<Wanted, Error> {
    let platform = source.platform.as_deref().map_or_else(|| Ok(Platform::host()), Platform::parse)?;
    Ok(Wanted { reference: Reference::parse(&source.reference, folder)?, platform })
}

/// When an image is pulled that several services ask for: as often as the most eager of those that are meant wants;
/// `None` where none of them is.
fn policy(services: &[(String, ImageSource)], choice: &Choice<'_>) -> Option<Policy> {
    let meant = services.iter().filter(|(name, _)| !choice.is_dry && choice.services.contains(name));
    let policies = meant.map(|(_, source)| match choice.policy.unwrap_or(source.pull) {
        stack::PullPolicy::Always => Policy::Always,
        stack::PullPolicy::Missing => Policy::Missing,
        stack::PullPolicy::Never => Policy::Never,
        stack::PullPolicy::After(age) => Policy::After(age),
    });
    policies.min_by_key(|policy| match policy {
        Policy::Always => (0, None),
        Policy::After(age) => (1, Some(*age)),
        Policy::Missing => (2, None),
        Policy::Never => (3, None),
    })
}

fn give(service: &mut Service, source: &ImageSource, image: &composer_image::Image) {
    apply::apply(service, source, &image.config);
    service.rootfs = Rootfs::Image(Box::new(stack::Image {
        reference: source.reference.clone(),
        digest: image.digest.to_string(),
        id: image.id.to_string(),
        platform: image.platform.to_string(),
        layers: image.layers.clone(),
    }));
}

fn nothing_to_run(service: &Service, choice: &Choice<'_>) -> Option<Failed> {
    let is_empty = service.argv().first().is_none_or(String::is_empty);
    (is_empty && choice.services.contains(&service.name)).then(|| Failed {
        service: service.name.clone(),
        message: format!("the image of `{}` names no program to execute", service.name),
        help: Some("give the service a `command`".to_owned()),
        at: vec!["services".to_owned(), service.name.clone(), "image".to_owned()],
    })
}

/// Whoever waits for a health check that neither the file nor the image has.
fn waits_in_vain(stack: &Stack, choice: &Choice<'_>) -> Vec<Failed> {
    let meant = stack.services.values().filter(|service| choice.services.contains(&service.name));
    let waits = meant.flat_map(|service| {
        let healthy =
            service.depends_on.iter().filter(|(_, how)| how.condition == Condition::Healthy && how.required);
        healthy.map(move |(name, _)| (service, name))
    });
    let in_vain = waits.filter(|(_, name)| {
        stack
            .services
            .get(*name)
            .is_some_and(|target| matches!(target.rootfs, Rootfs::Image(_)) && target.healthcheck.is_none())
    });
    in_vain
        .map(|(service, to)| Failed {
            service: service.name.clone(),
            message: format!(
                "`{}` waits for `{to}` to be healthy, but neither `{to}` nor its image has a health check",
                service.name
            ),
            help: Some(format!("give `{to}` a `healthcheck` or an `x-probe`, or wait for `service_started`")),
            at: ["services", &service.name, "depends_on", to].map(str::to_owned).to_vec(),
        })
        .collect()
}

impl Failed {
    fn of(service: &str, error: &Error) -> Self {
        let key = if matches!(error, Error::Platform { .. }) { "platform" } else { "image" };
        Self {
            service: service.to_owned(),
            message: error.to_string(),
            help: None,
            at: ["services", service, key].map(str::to_owned).to_vec(),
        }
    }
}
