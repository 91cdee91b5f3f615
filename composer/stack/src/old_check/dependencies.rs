//! `depends_on`: targets exist, and nothing waits for itself.

use std::collections::BTreeMap;

use crate::decode::project::Project;
use crate::diagnostic::Report;
use crate::model::Condition;
use crate::suggest::nearest;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Open,
    Done,
}

pub(super) fn check(project: &Project, report: &mut Report) {
    for (name, service) in &project.services {
        for (target, dependency) in &service.depends_on {
            let Some(found) = project.services.get(target) else {
                let message = format!("`{name}` depends on `{target}`, which is not defined");
                let found = report.error(dependency.key, message);
                if let Some(near) = nearest(target, project.services.keys().map(String::as_str)) {
                    found.help(format!("did you mean `{near}`?"));
                }
                continue;
            };
            let probe = found
                .healthcheck
                .as_ref()
                .filter(|check| !check.disable)
                .and_then(|check| check.test.as_ref());
            let probed = probe.is_some_and(|test| test.first().map(String::as_str) != Some("NONE"));
            // An image may bring a health check of its own.
            if dependency.condition == Condition::Healthy && !probed && found.rootfs.is_some() {
                report
                    .error(
                        dependency.key,
                        format!(
                            "`{name}` waits for `{target}` to be healthy, but `{target}` has no health check"
                        ),
                    )
                    .help("give it a `healthcheck`, or wait for `service_started`")
                    .also(found.key, "no `healthcheck` here");
            }
        }
    }
    cycles(project, report);
}

/// Reports every cycle that a depth-first walk closes, as its path. Iterative: chains may be long.
fn cycles(project: &Project, report: &mut Report) {
    let mut marks: BTreeMap<&str, Mark> = BTreeMap::new();
    for root in project.services.keys() {
        if marks.contains_key(root.as_str()) {
            continue;
        }
        marks.insert(root, Mark::Open);
        let mut path = vec![(root.as_str(), targets(project, root))];
        while let Some((name, rest)) = path.last_mut() {
            let name = *name;
            let Some(next) = rest.pop() else {
                marks.insert(name, Mark::Done);
                path.pop();
                continue;
            };
            match marks.get(next) {
                Some(Mark::Done) => {}
                Some(Mark::Open) => {
                    let begin = path.iter().position(|(name, _)| *name == next).unwrap_or(0);
                    let names: Vec<&str> =
                        path[begin..].iter().map(|(name, _)| *name).chain([next]).collect();
                    say(project, &names, report);
                }
                None => {
                    marks.insert(next, Mark::Open);
                    path.push((next, targets(project, next)));
                }
            }
        }
    }
}

/// What `name` depends on, last first.
fn targets<'a>(project: &'a Project, name: &str) -> Vec<&'a str> {
    let targets = project.services.get(name).into_iter().flat_map(|service| service.depends_on.keys().rev());
    targets.filter(|target| project.services.contains_key(*target)).map(String::as_str).collect()
}

fn say(project: &Project, names: &[&str], report: &mut Report) {
    let edges = names.windows(2).filter_map(|pair| match pair {
        [from, to] => Some((project.services.get(*from)?.depends_on.get(*to)?.key, *from, *to)),
        _ => None,
    });
    let edges: Vec<_> = edges.collect();
    let Some((&(first, ..), others)) = edges.split_first() else {
        return;
    };
    let mut found = report
        .error(first, format!("services wait for each other: {}", names.join(" -> ")))
        .help("remove one of these dependencies");
    for (span, from, to) in others {
        found = found.also(*span, format!("`{from}` waits for `{to}`"));
    }
}
