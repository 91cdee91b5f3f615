//! What no single section can see: references between sections, cycles, limits against each other and the host.

mod dependencies;
mod mounts;
mod resources;
mod runnable;

use crate::decode::project::Project;
use crate::diagnostic::Report;
use crate::options::{LoadOptions, Purpose};

/// Runs every check.
pub(crate) fn all(project: &Project, options: &LoadOptions, report: &mut Report) {
    dependencies::check(project, report);
    mounts::check(project, options.purpose == Purpose::Run, report);
    let running = options.purpose == Purpose::Run;
    names(project, report);
    if running {
        lengths(project, report);
    }
    let host = options.host.as_ref().filter(|_| running);
    resources::check(project, host, running, report);
    runnable::check(project, running, report);
}

/// A container's name is that of a folder and of a cgroup: NAME_MAX of limits.h.
const LONGEST: usize = 255;

fn lengths(project: &Project, report: &mut Report) {
    for (name, service) in project.services.iter().filter(|(_, service)| service.container_name.is_none()) {
        let replicas = service.replicas().map_or(1, |at| at.value);
        let container = format!("{}-{name}-{replicas}", project.name);
        if container.len() > LONGEST {
            report
                .error(service.key, format!("the container's name would have {} characters", container.len()))
                .help(format!("{LONGEST} fit: a shorter name for the service, or for the project with -p"));
        }
    }
}

/// `container_name` fits one container alone.
fn names(project: &Project, report: &mut Report) {
    let mut seen = std::collections::BTreeMap::new();
    for (name, service) in &project.services {
        let Some(container) = &service.container_name else {
            continue;
        };
        if let Some(replicas) = service.replicas().filter(|replicas| replicas.value > 1) {
            report
                .error(
                    container.span,
                    format!("`{name}` has a `container_name`, so it cannot have {} replicas", replicas.value),
                )
                .help("container names are unique: remove `container_name`")
                .also(replicas.span, "replicas given here");
        }
        if let Some(first) = seen.insert(&container.value, container.span) {
            report
                .error(container.span, format!("two services have the container name `{}`", container.value))
                .also(first, "first here");
        }
    }
}
