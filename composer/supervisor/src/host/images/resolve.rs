//! The services of a stack get the images that they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use composer_image::{Image, Policy, Store};
use composer_stack::{
    self as stack, Condition, ImagePlace, ImageSource, ImageUse, MountKind, Rootfs, Service, Stack,
};

use super::{Error, Event, Held, Registries, Stop, Wanted, apply, bring, store};

/// Which images are brought, and when.
pub struct Choice<'a> {
    /// Services whose images are brought. Those of others are only looked for.
    pub services: &'a BTreeSet<String>,
    /// Instead of what the services say.
    pub policy: Option<stack::PullPolicy>,
    /// Where nothing is to be done, images are only looked for.
    pub is_dry: bool,
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

/// Who asks for an image.
#[derive(Clone, Debug)]
struct Asker {
    service: String,
    place: ImagePlace,
    source: ImageSource,
}

/// All who ask for one image.
type Askers = Vec<Asker>;

/// What services ask for, as far as it is here.
#[derive(Debug)]
pub struct Looked {
    store: Store,
    held: Held,
    here: Vec<(Askers, Image)>,
    missing: Vec<(Askers, Wanted, Policy)>,
    /// What would be brought if this were not dry.
    due: Vec<String>,
    failed: Vec<Failed>,
}

impl Looked {
    /// Looks for the images that services ask for; `None` where none does.
    ///
    /// # Errors
    /// Those of opening the store.
    pub fn find(stack: &Stack, registries: Registries, choice: &Choice<'_>) -> Result<Option<Self>, Error> {
        let mut failed = Vec::new();
        let mut asked: BTreeMap<Wanted, Askers> = BTreeMap::new();
        for service in stack.services.values() {
            for (place, source) in service.image_sources() {
                let asker = Asker { service: service.name.clone(), place, source: source.clone() };
                match Wanted::parse(&source.reference, source.platform.as_deref(), &stack.directory) {
                    Ok(wanted) => asked.entry(wanted).or_default().push(asker),
                    Err(error) => failed.push(Failed::of(&asker, &error)),
                }
            }
        }
        if asked.is_empty() && failed.is_empty() {
            return Ok(None);
        }
        let named = |error| match asked.keys().next() {
            Some(wanted) => wanted.named(error),
            None => error,
        };
        let store = store(registries).map_err(named)?;
        let held = Held(store.hold().map_err(named)?);
        let mut looked = Self { store, held, here: Vec::new(), missing: Vec::new(), due: Vec::new(), failed };
        let now = SystemTime::now();
        for (wanted, askers) in asked {
            let policy = policy(&askers, choice);
            let found = looked
                .store
                .find(&wanted.reference, &wanted.platform)
                .map_err(|error| wanted.named(error))?;
            if choice.is_dry {
                if policy.is_some_and(|policy| is_due(policy, found.as_ref(), now)) {
                    looked.due.push(wanted.reference.familiar());
                }
                looked.here.extend(found.map(|image| (askers, image)));
                continue;
            }
            match (found, policy) {
                (Some(image), None) => looked.here.push((askers, image)),
                (Some(image), Some(policy)) if policy.is_content(&image, now) => {
                    looked.here.push((askers, image))
                }
                (_, Some(policy)) => looked.missing.push((askers, wanted, policy)),
                (None, None) => {}
            }
        }
        Ok(Some(looked))
    }

    /// The names of the images that would be brought, where nothing is to be done.
    pub fn due(&self) -> &[String] {
        &self.due
    }

    /// The names of the images that have to be brought.
    pub fn missing(&self) -> Vec<String> {
        self.missing.iter().map(|(_, wanted, _)| wanted.reference.familiar()).collect()
    }

    /// Brings what is missing, all at once; how far it has come is told with an image's place among the names. Blocks until
    /// all is done or `stop` ends it. What has become of each is in the order of the names.
    pub fn bring(
        self,
        stop: &Stop,
        progress: &(dyn Fn(usize, Event<'_>) + Sync),
    ) -> (Self, Vec<Result<Image, Error>>) {
        let wanted: Vec<_> =
            self.missing.iter().map(|(_, wanted, policy)| (wanted.clone(), *policy)).collect();
        let looked = Self { store: self.store.with_stop(stop.clone()), ..self };
        let brought = bring(&looked.store, &wanted, progress);
        (looked, brought)
    }

    /// Gives the services what their images say of themselves. Those whose image is not here, and was not to be brought, are
    /// left as they are. What images say that nobody can do is told.
    ///
    /// # Errors
    /// What is wrong with the image of each service.
    pub fn give(
        self,
        brought: Vec<Result<Image, Error>>,
        stack: &mut Stack,
        choice: &Choice<'_>,
    ) -> Result<(Held, BTreeSet<String>), Vec<Failed>> {
        let Self { mut here, missing, mut failed, held, .. } = self;
        let mut doubts = BTreeSet::new();
        for ((askers, ..), result) in missing.into_iter().zip(brought) {
            match result {
                Ok(image) => here.push((askers, image)),
                Err(error) => {
                    let meant = askers.iter().filter(|asker| choice.services.contains(&asker.service));
                    failed.extend(meant.map(|asker| Failed::of(asker, &error)));
                }
            }
        }
        let (mut roots, others): (Vec<_>, Vec<_>) = here
            .iter()
            .flat_map(|(askers, image)| askers.iter().map(move |asker| (asker, image)))
            .partition(|(asker, _)| asker.place == ImagePlace::Root);
        // What the file says goes into steps in other images, and nothing of the service's own image.
        for (asker, image) in others.into_iter().chain(roots.drain(..)) {
            if let Some(service) = stack.services.get_mut(&asker.service) {
                if choice.services.contains(&asker.service) && asker.place == ImagePlace::Root {
                    doubts.extend(apply::doubts(service, &asker.source, &image.config));
                }
                give(service, asker, image);
                failed.extend(nothing_to_run(service, choice));
            }
        }
        failed.extend(waits_in_vain(stack, choice));
        if failed.is_empty() { Ok((held, doubts)) } else { Err(failed) }
    }
}

/// When an image is pulled that several services ask for: as often as the most eager of those that are meant wants;
/// `None` where none of them is.
fn policy(askers: &[Asker], choice: &Choice<'_>) -> Option<Policy> {
    let meant = askers.iter().filter(|asker| choice.services.contains(&asker.service));
    let policies = meant.map(|asker| match choice.policy.unwrap_or(asker.source.pull) {
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

/// Whether an image would be pulled.
fn is_due(policy: Policy, found: Option<&Image>, now: SystemTime) -> bool {
    policy != Policy::Never && !found.is_some_and(|image| policy.is_content(image, now))
}

fn give(service: &mut Service, asker: &Asker, image: &Image) {
    let found = Box::new(stack::Image {
        reference: asker.source.reference.clone(),
        digest: image.digest.to_string(),
        id: image.id.to_string(),
        platform: image.platform.to_string(),
        layers: image.layers.clone(),
    });
    match asker.place {
        ImagePlace::Root => {
            apply::apply(service, &asker.source, &image.config);
            service.rootfs = Rootfs::Image(found);
        }
        ImagePlace::Step(number) => {
            if let Some(step) = service.pre_start.get_mut(number) {
                apply::step(&mut step.hook, &service.environment, &image.config);
                step.image = Some(ImageUse::Found(found));
            }
        }
        ImagePlace::Mount(number) => {
            if let Some(mount) = service.mounts.get_mut(number) {
                mount.kind = MountKind::Image(ImageUse::Found(found));
            }
        }
    }
}

fn nothing_to_run(service: &Service, choice: &Choice<'_>) -> Option<Failed> {
    let is_empty = service.argv().first().is_none_or(String::is_empty);
    (is_empty && matches!(service.rootfs, Rootfs::Image(_)) && choice.services.contains(&service.name)).then(
        || Failed {
            service: service.name.clone(),
            message: format!("the image of `{}` names no program to execute", service.name),
            help: Some("give the service a `command`".to_owned()),
            at: vec!["services".to_owned(), service.name.clone(), "image".to_owned()],
        },
    )
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
    fn of(asker: &Asker, error: &Error) -> Self {
        let mut at = vec!["services".to_owned(), asker.service.clone()];
        match asker.place {
            ImagePlace::Root if matches!(error, Error::Platform { .. }) => at.push("platform".to_owned()),
            ImagePlace::Root => at.push("image".to_owned()),
            ImagePlace::Step(number) => {
                at.extend(["pre_start".to_owned(), number.to_string(), "image".to_owned()]);
            }
            ImagePlace::Mount(number) => {
                at.extend(["volumes".to_owned(), number.to_string(), "source".to_owned()]);
            }
        }
        Self { service: asker.service.clone(), message: error.to_string(), help: None, at }
    }
}
