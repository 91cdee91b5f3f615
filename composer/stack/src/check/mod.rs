//! What no single value shows: references between sections, cycles, clashes, limits against each other, the stack's
//! cap and the host.
//!
//! Everything here reads the canonical tree, in which the table has left nothing of a wrong shape. What Docker Compose
//! refuses when it reads a file is refused for every purpose; what only a container's start would show is refused
//! when the stack is to be run.

mod addresses;
mod bandwidth;
mod cycles;
mod definitions;
mod dependencies;
mod develop;
mod devices;
mod drivers;
mod edges;
mod health;
mod joined;
mod kernel;
mod logging;
mod macvlan;
mod mounts;
mod names;
mod namesakes;
mod networks;
mod oom;
mod options;
mod origin;
mod ports;
mod project;
mod references;
mod replicas;
mod resources;
mod room;
mod security;
mod support;
#[cfg(test)]
mod tests;
mod unready;
mod userns;
mod volumes;
mod words;

pub(crate) use oom::step;
pub use ports::same_address;
pub(crate) use resources::{beyond, contradiction};

use std::path::Path;

use crate::diagnostic::Report;
use crate::options::LoadOptions;
use crate::yaml::{Map, Node};

use project::Project;

/// What can be said of every definition by itself: Docker Compose refuses it with `--no-consistency` and
/// `--no-interpolate` too, and of services that no profile wants.
pub(crate) fn each(root: &Node, options: &LoadOptions, report: &mut Report) {
    let nobody = Map::new();
    let project = Project::new(root, &nobody, options);
    definitions::each(project, report);
    devices::each(project, report);
}

/// Runs every other check. `disabled` are the services that no active profile wants, with their definitions; `folder` is
/// where relative paths begin.
pub(crate) fn all(root: &Node, disabled: &Map, folder: &Path, options: &LoadOptions, report: &mut Report) {
    let project = Project::new(root, disabled, options);
    dependencies::check(project, report);
    cycles::check(project, report);
    references::check(project, report);
    definitions::check(project, report);
    replicas::check(project, report);
    mounts::check(project, report);
    volumes::check(project, report);
    names::check(project, report);
    health::check(project, report);
    logging::check(project, report);
    develop::check(project, report);
    words::check(project, report);
    kernel::check(project, report);
    devices::check(project, report);
    security::check(project, folder, report);
    ports::check(project, report);
    networks::check(project, report);
    namesakes::check(project, report);
    drivers::check(project, report);
    macvlan::check(project, report);
    joined::check(project, report);
    addresses::check(project, report);
    room::check(project, report);
    bandwidth::check(project, report);
    resources::check(project, report);
    userns::check(project, report);
    oom::check(project, report);
    origin::check(project, report);
    if project.running() {
        unready::check(project, report);
        support::check(root, report);
    }
}
