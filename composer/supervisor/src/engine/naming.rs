//! Names of containers: no two stacks of a host have the same one, as in Docker.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use composer_plan::{Plan, Step};
use nix::fcntl::{Flock, FlockArg};

use super::Engine;
use super::operations::failure;
use crate::paths::{self, StackPaths};
use crate::protocol::Failure;

/// Names that an operation has taken for containers it is about to make. A container's folder is its name's claim: those
/// of which nothing has come are given back.
#[must_use]
#[derive(Default)]
pub struct Claims(Vec<PathBuf>);

impl Drop for Claims {
    fn drop(&mut self) {
        for folder in &self.0 {
            // That of a container is not empty, which is what rmdir is asked for.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Names of containers, with the services of the file that are to have them.
pub(super) type Names = BTreeMap<String, Option<String>>;

impl Engine {
    /// Takes the names of the containers that a plan makes. Fails where another stack or a container
    /// of `run` has one, before anything is made.
    pub(super) fn claim_names(&self, plan: &Plan) -> Result<Claims, Failure> {
        let made = plan.steps().into_iter().filter_map(|id| match &plan.get(id).step {
            Step::Create { container, service, .. } | Step::Recreate { container, service, .. } => {
                Some((container.clone(), Some(service.clone())))
            }
            _ => None,
        });
        self.claim(&made.collect())
    }

    /// The same of any names.
    pub(super) fn claim(&self, made: &Names) -> Result<Claims, Failure> {
        let mut known = made.keys().filter_map(|name| self.container(name));
        if let Some(oneoff) = known.find(|container| container.oneoff().is_some()) {
            let (name, service) = (oneoff.name(), oneoff.record.borrow().service.name.clone());
            return Err(in_use(
                made,
                &name,
                "a container of `compose run`",
                format!(
                    "wait for its end where that has `--rm`, or take it away with `compose down {service}`"
                ),
            ));
        }
        let mut names = made.clone();
        names.retain(|name, _| self.container(name).is_none());
        if names.is_empty() {
            return Ok(Claims::default());
        }
        let failed = |error: io::Error| failure(format!("take the names of containers: {error}"));
        self.paths.make().map_err(failed)?;
        // With this stack in it, the folder of all stacks stays where it is.
        let stacks = File::open(paths::stacks_folder()).map_err(failed)?;
        let _lock =
            Flock::lock(stacks, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        self.not_taken(&names)?;
        let mut claims = Claims::default();
        for name in names.keys() {
            let folder = self.paths.container(name).folder().to_owned();
            paths::make(&folder).map_err(failed)?;
            claims.0.push(folder);
        }
        Ok(claims)
    }

    /// Fails where another stack has a container of one of these names.
    pub(super) fn not_taken(&self, names: &Names) -> Result<(), Failure> {
        for stack in paths::stacks().into_iter().filter(|stack| *stack != self.stack) {
            let mut theirs = StackPaths::new(&stack).container_names();
            if let Some(name) = theirs.find(|name| names.contains_key(name)) {
                let help = format!(
                    "give one of them another `container_name`, or take the other away with `compose -p {stack} down`"
                );
                return Err(in_use(names, &name, &format!("stack {stack}"), help));
            }
        }
        Ok(())
    }
}

/// Why a name cannot be had; the line is that of the service that is to have it, whether it has chosen it or not.
fn in_use(made: &Names, name: &str, holder: &str, help: String) -> Failure {
    let service = made.get(name).and_then(Option::as_ref);
    let at = service.map(|service| ["services", service, "container_name"].map(str::to_owned).to_vec());
    Failure {
        help: Some(help),
        at: at.unwrap_or_default(),
        ..failure(format!("the container name {name:?} is already in use by {holder}"))
    }
}
