//! Which containers of a service stay, which are made anew, which are added, and which go.

use std::collections::BTreeSet;

use composer_stack::{Changes, Run, Service, Stack};

use super::Recreate;
use crate::observed::{Found, ObservedState};

/// A container that a service is to have.
pub(super) struct Slot<'a> {
    /// Its name from now on.
    pub name: String,
    /// Which replica.
    pub index: u32,
    /// What is there of it.
    pub found: Option<Found<'a>>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a container.
pub(super) enum Fate {
    /// There is none yet.
    Make,
    /// It is made anew, for this reason.
    Renew(String),
    /// It stays.
    Keep {
        /// What it takes over as it is, in words.
        update: Option<String>,
        /// It has done its work and is not started again.
        done: bool,
    },
}

/// What becomes of a service's containers.
pub(super) struct Choice<'a> {
    pub service: &'a Service,
    /// As many as are asked for.
    pub slots: Vec<Slot<'a>>,
    /// Those that are too many.
    pub surplus: Vec<Found<'a>>,
}

impl<'a> Choice<'a> {
    /// Containers as they are asked for stay before others, and low numbers before high ones, as in Docker Compose.
    pub fn new(
        stack: &Stack,
        service: &'a Service,
        found: &[Found<'a>],
        recreate: Recreate,
        changed: &BTreeSet<&str>,
    ) -> Self {
        let moved = service.network.attachments().map(|(key, _)| key).find(|key| changed.contains(key));
        let mut known: Vec<(Fate, Found<'a>)> =
            found.iter().map(|found| (fate(service, *found, recreate, moved), *found)).collect();
        known.sort_by_cached_key(|(fate, found)| {
            let index = found.container.index;
            let is_named_otherwise = found.name != stack.container_name(service, index);
            (matches!(fate, Fate::Renew(_)), is_named_otherwise, index, found.name)
        });
        let mut used: BTreeSet<u32> = BTreeSet::new();
        let (mut slots, mut surplus) = (Vec::new(), Vec::new());
        for (fate, found) in known {
            let index = found.container.index;
            // One number is there twice where a crash came between a new name and the end of the old one.
            if slots.len() == service.replicas as usize || !used.insert(index) {
                surplus.push(found);
                continue;
            }
            let name = match fate {
                Fate::Renew(_) => stack.container_name(service, index),
                Fate::Keep { .. } | Fate::Make => found.name.to_owned(),
            };
            slots.push(Slot { name, index, found: Some(found), fate });
        }
        let missing = (service.replicas as usize).saturating_sub(slots.len());
        let free = (1..).filter(|index| !used.contains(index)).take(missing);
        let new = free.map(|index| {
            let name = stack.container_name(service, index);
            Slot { name, index, found: None, fate: Fate::Make }
        });
        slots.extend(new);
        slots.sort_by_key(|slot| slot.index);
        Self { service, slots, surplus }
    }

    /// Makes those anew that would stay.
    pub fn renew(&mut self, why: &str) {
        for slot in &mut self.slots {
            if matches!(slot.fate, Fate::Keep { .. }) {
                slot.fate = Fate::Renew(why.to_owned());
            }
        }
    }

    /// Whether a container that exists is made anew.
    pub fn renews(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.fate, Fate::Renew(_)))
    }
}

/// `moved` is a network of the service that is made anew.
fn fate(service: &Service, found: Found<'_>, recreate: Recreate, moved: Option<&str>) -> Fate {
    let changes = Changes::between(&found.container.config, service);
    if let Some(network) = moved
        && recreate != Recreate::Always
    {
        return Fate::Renew(format!("the configuration of network {network} has changed"));
    }
    match recreate {
        Recreate::Always => return Fate::Renew("containers were asked to be made anew".to_owned()),
        Recreate::Changed if !changes.anew.is_empty() => {
            let (name, what) = (&service.name, changes.anew.join(", "));
            return Fate::Renew(format!("the configuration of service {name} has changed ({what})"));
        }
        Recreate::Changed | Recreate::Never => {}
    }
    let up_to_date = changes.anew.is_empty();
    let update = (up_to_date && !changes.in_place.is_empty())
        .then(|| format!("{} of service {} has changed", changes.in_place.join(", "), service.name));
    let succeeded = match found.container.state {
        ObservedState::Exited(code) => code == 0,
        ObservedState::Created | ObservedState::Running => false,
    };
    Fate::Keep { update, done: service.run == Run::Once && up_to_date && succeeded }
}
