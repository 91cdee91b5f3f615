//! What the services of a verb that makes containers need of others: images, and networks of other stacks.

use std::collections::BTreeSet;

use composer_stack::{PullPolicy, Stack};
use composer_supervisor::client::Client;
use composer_supervisor::host;
use composer_supervisor::host::images::{self, Choice, Looked};
use composer_supervisor::host::networks;
use composer_supervisor::protocol::Failure;

use super::context::Context;
use super::{Error, Result, pulling};
use crate::options::Pull;
use crate::render::{Step, Way};

/// Which images, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bring<'a> {
    /// Services that are made; all where there is none.
    pub services: &'a [String],
    /// Without what they depend on.
    pub no_deps: bool,
    /// Instead of what the services say.
    pub policy: Option<Pull>,
    /// Nothing is said of pulls.
    pub quiet: bool,
    /// Nothing is done.
    pub is_dry: bool,
}

impl Context {
    /// Gives the services of a stack the images that they ask for, which are kept from being removed until
    /// [`Context::let_go`], and other stacks be there that share their networks with them.
    pub fn bring(&mut self, stack: &mut Stack, bring: Bring<'_>) -> Result<()> {
        let services: BTreeSet<String> = match (bring.services, bring.no_deps) {
            ([], _) => stack.services.keys().cloned().collect(),
            (named, true) => named.iter().cloned().collect(),
            (named, false) => needed(named, stack).into_iter().cloned().collect(),
        };
        self.bring_images(stack, &services, bring)?;
        if bring.is_dry { Ok(()) } else { Self::wake_givers(stack, &services) }
    }

    fn bring_images(
        &mut self,
        stack: &mut Stack,
        services: &BTreeSet<String>,
        bring: Bring<'_>,
    ) -> Result<()> {
        if !stack.services.values().any(|service| !service.image_sources().is_empty()) {
            return Ok(());
        }
        host::root()?;
        let choice = Choice { services, policy: policy(bring.policy), is_dry: bring.is_dry };
        let registries = self.registries()?;
        let looked = Looked::find(stack, registries, &choice).map_err(host::Error::Image)?;
        let Some(looked) = looked else { return Ok(()) };
        if !looked.due().is_empty() {
            let mut pulls = self.pulls(Way::Pull, bring.quiet);
            looked.due().iter().for_each(|name| pulls.step(name, &Step::Asked, &mut self.out));
            pulls.finish();
        }
        let names = looked.missing();
        let (looked, brought) = if names.is_empty() {
            (looked, Vec::new())
        } else {
            let mut pulls = self.pulls(Way::Pull, bring.quiet);
            pulling::bring(self, &mut pulls, looked)?
        };
        match looked.give(brought, stack, &choice) {
            Ok((held, doubts)) => {
                doubts.iter().for_each(|doubt| self.out.warning(doubt));
                self.held = Some(held);
                Ok(())
            }
            Err(failed) => Err(self.first(failed)),
        }
    }

    /// Has somebody there to be asked in the stacks that are to share networks with these services, where a crash has left
    /// what runs to itself.
    fn wake_givers(stack: &Stack, services: &BTreeSet<String>) -> Result<()> {
        let used = services.iter().filter_map(|name| stack.services.get(name));
        let keys: BTreeSet<&str> =
            used.flat_map(|service| service.network.attachments()).map(|(key, _)| key).collect();
        let used = keys.into_iter().filter_map(|key| stack.networks.get(key));
        let names: Vec<String> = used.map(|network| network.name.clone()).collect();
        for elsewhere in networks::elsewhere(&names, &stack.name) {
            Client::find(&elsewhere.stack)?;
        }
        Ok(())
    }

    /// The images are in use now, or are not going to be.
    pub fn let_go(&mut self) {
        self.held = None;
    }

    /// Tells of all but the last, which is the command's own error.
    fn first(&mut self, failed: Vec<images::Failed>) -> Error {
        let mut told = BTreeSet::new();
        let mut errors: Vec<Error> = failed
            .into_iter()
            .filter(|failed| told.insert(failed.message.clone()))
            .map(|failed| {
                let failure = Failure { help: failed.help, at: failed.at, ..Failure::new(failed.message, 1) };
                Error::Refused(failure)
            })
            .collect();
        let last = errors.pop().unwrap_or_else(|| Error::Usage("no image could be brought".to_owned()));
        for error in &errors {
            self.tell(error);
        }
        last
    }
}

fn policy(pull: Option<Pull>) -> Option<PullPolicy> {
    match pull? {
        Pull::Always => Some(PullPolicy::Always),
        Pull::Missing | Pull::IfNotPresent | Pull::Build => Some(PullPolicy::Missing),
        Pull::Never => Some(PullPolicy::Never),
        Pull::Policy => None,
    }
}

/// The services, and what they depend on.
pub fn needed<'a>(services: &'a [String], stack: &'a Stack) -> Vec<&'a String> {
    let (mut found, mut open): (BTreeSet<&String>, Vec<&String>) =
        (BTreeSet::new(), services.iter().collect());
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(stack.services.get(name).into_iter().flat_map(|service| service.depends_on.keys()));
        }
    }
    found.into_iter().collect()
}
