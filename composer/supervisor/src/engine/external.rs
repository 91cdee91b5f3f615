//! `external_links`: names for containers of any stack, on networks that both are on.

use std::collections::BTreeSet;

use composer_plan::{Plan, Step};
use composer_stack::{Service, Stack};

use super::Engine;
use super::network::open;
use crate::paths::{self, StackPaths};
use crate::protocol::{Action, Subject};
use crate::records::{self, ContainerRecord, Phase, StackRecord};

impl Engine {
    /// Warns where a service that a plan starts has a link to a container that cannot be reached now: its name is resolved
    /// when it is asked for, so that one may come up later, as where two stacks link each other.
    pub(super) fn check_external_links(&self, plan: &Plan, stack: Option<&Stack>) {
        let made: BTreeSet<&String> = plan
            .steps()
            .into_iter()
            .filter_map(|id| match &plan.get(id).step {
                Step::Create { container, .. } | Step::Recreate { container, .. } => Some(container),
                _ => None,
            })
            .collect();
        let mut seen = BTreeSet::new();
        for (_, mut service) in self.to_start(plan, stack) {
            service.external_links.retain(|link| !made.contains(&link.container));
            if seen.insert(service.name.clone()) {
                self.check_links_of(&service, stack);
            }
        }
    }

    /// The same of one service, once for a container.
    pub(super) fn check_links_of(&self, service: &Service, stack: Option<&Stack>) {
        let mut seen = BTreeSet::new();
        for link in &service.external_links {
            let (name, container) = (&service.name, &link.container);
            if !seen.insert(container) || self.container(container).is_some() {
                continue;
            }
            // As the file has it: what the stack makes itself is not among those that are looked at here.
            let of_file = stack.and_then(|stack| stack.services.get(name)).unwrap_or(service);
            let place = of_file.external_links.iter().position(|other| other == link).unwrap_or_default();
            let warn = |why: &str, help: &str| {
                let text = format!(
                    "services.{name}.external_links.{place}: service {name}: its link is to container {container}, \
                     {why}; {help}"
                );
                self.announce(Subject::Group, Action::Warning(text));
            };
            let Some((other, record)) = elsewhere(&self.stack, container) else {
                warn("which there is none of on this host", "bring its stack up, or remove the link");
                continue;
            };
            if !matches!(&record.phase, Phase::Started(process) if open(process).is_ok()) {
                let help = format!("start it: `compose -p {other} start {}`", record.service.name);
                warn("which does not run", &help);
                continue;
            }
            let networks = stack.map(|stack| &stack.networks);
            let own = service.network.attachments().filter_map(|(key, _)| networks?.get(key));
            let own: BTreeSet<&String> =
                own.filter(|network| network.external).map(|net| &net.name).collect();
            let shared = shared(&other, &record);
            if stack.is_some() && !shared.iter().any(|network| own.contains(network)) {
                let text = format!(
                    "service {name}: its link to container {container} leads nowhere: they are on no network together; \
                     `compose network create` makes one that stacks share"
                );
                self.announce(Subject::Group, Action::Warning(text));
            }
        }
    }
}

/// A container of another stack, and which that is.
pub(super) fn elsewhere(own: &str, name: &str) -> Option<(String, ContainerRecord)> {
    let others = paths::stacks().into_iter().filter(|stack| stack != own);
    let mut found = others.filter_map(|stack| {
        ContainerRecord::read(&StackPaths::new(&stack).container(name)).map(|record| (stack, record))
    });
    found.find(|(_, record)| record.name == name)
}

/// The networks that it is on which others can be on too.
fn shared(stack: &str, container: &ContainerRecord) -> Vec<String> {
    let record = records::read::<StackRecord>(&StackPaths::new(stack).record());
    let made = record.map(|record| record.made).unwrap_or_default();
    let on = container.service.network.attachments().filter_map(|(key, _)| made.get(key));
    on.filter(|network| network.external).map(|network| network.name.clone()).collect()
}
