//! Hierarchies in which a group has a directory only where it asks for something ([`Controller::is_on_demand`]): v1's
//! `blkio` and `hugetlb`, and what v2 has of them beside a v1 that has the rest.
//!
//! v1's `blkio` holds no group to what the groups around it have (blk-throttle.c follows parents on v2 alone), so there
//! what runs in a group without limits of its own is in the directory of the group around it, and shares its limits.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::gather::gather;
use crate::hierarchy::{Layout, Other};
use crate::{Controller, Error, Limits, control, removal, v1, v2};

/// Whether groups that ask for something have a directory in this hierarchy.
pub(crate) fn is_place(other: &Other) -> bool {
    !other.root.controllers.is_empty()
}

/// Whether groups there are held to the limits of those around them.
fn is_nested(other: &Other) -> bool {
    other.is_v2 || !other.root.has(Controller::Io)
}

fn places(layout: &Layout) -> impl Iterator<Item = &Other> {
    layout.others.iter().filter(|other| is_place(other))
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// By which whoever joins the group of these limits joins it there too.
pub(crate) fn files(layout: &Layout, path: &str, limits: &Limits) -> Vec<PathBuf> {
    let file = |other: &Other, path: &str| {
        other.root.group(path).join(if other.is_v2 { "cgroup.procs" } else { "tasks" })
    };
    let found = places(layout).filter_map(|other| {
        let asks = other.root.controllers.iter().any(|controller| limits.asks(*controller));
        let around = parent(path).filter(|parent| is_limited(other, parent));
        match around {
            _ if asks => Some(file(other, path)),
            Some(_) if is_nested(other) => Some(file(other, path)),
            Some(parent) => Some(file(other, parent)),
            None => None,
        }
    });
    found.collect()
}

/// Whether a group has a directory there, for itself or for one inside it.
fn is_limited(other: &Other, path: &str) -> bool {
    // The outermost is there for everybody.
    path.contains('/') && other.root.group(path).is_dir()
}

/// Makes a new group where the one around it is, so that its processes are held to the limits of that.
pub(crate) fn follow_parent(layout: &Layout, path: &str) -> Result<(), Error> {
    let is_around =
        |other: &&Other| is_nested(other) && parent(path).is_some_and(|parent| is_limited(other, parent));
    places(layout).filter(is_around).try_for_each(|other| make(other, path))
}

fn make(other: &Other, path: &str) -> Result<(), Error> {
    if other.is_v2 {
        v2::make(&other.root, path).map(|_| ())
    } else {
        v1::make(&other.root, path).map(|_| ())
    }
}

/// Makes the group there, and brings the processes that are in it elsewhere.
pub(crate) fn bring(layout: &Layout, other: &Other, path: &str) -> Result<(), Error> {
    let mut inside = BTreeSet::new();
    if is_nested(other) {
        // On v2 none may be in a group that hands controllers down.
        for root in layout.roots() {
            let children = control::children(&root.group(path))?;
            inside.extend(children.iter().filter_map(|child| Some(child.file_name()?.to_str()?.to_owned())));
        }
    }
    make(other, path)?;
    if inside.is_empty() {
        return bring_processes(layout, other, path);
    }
    inside.iter().try_for_each(|child| bring(layout, other, &format!("{path}/{child}")))
}

/// Moves the group's processes into its directory, but for those that are in one below that.
fn bring_processes(layout: &Layout, other: &Other, path: &str) -> Result<(), Error> {
    let directory = other.root.group(path);
    let here = || {
        let mut here = BTreeSet::new();
        removal::collect(&directory, &mut here)?;
        Ok(here)
    };
    if gather(layout, path, &directory, here)? { Ok(()) } else { Err(Error::Gather { path: directory }) }
}
