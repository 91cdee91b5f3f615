//! What this host offers: which controllers there are, and in which hierarchy each of them lives.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::mounts::{self, Kind, Mount};
use crate::{Error, Group, control, v2};

/// How the host's controllers are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Every controller has a v1 hierarchy, alone or with others, and cgroup2 is not mounted.
    V1,
    /// All controllers are in the one cgroup2 hierarchy.
    V2,
    /// Both: each controller is used where it lives, which may be v1 for all of them.
    Hybrid,
}

/// A controller whose limits or figures are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// CPU time and weight.
    Cpu,
    /// CPU time used; v1 alone, `cpu.stat` on v2.
    Cpuacct,
    /// Cores and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Number of tasks.
    Pids,
    /// Block devices: `blkio` on v1.
    Io,
    /// Huge pages.
    Hugetlb,
}

impl Controller {
    const ALL: [Controller; 7] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Pids,
        Controller::Io,
        Controller::Hugetlb,
    ];

    /// Whether few groups have limits of it: in a hierarchy with nothing else a group has a directory only where it
    /// has such limits, as each join costs time.
    pub(crate) fn is_on_demand(self) -> bool {
        match self {
            Controller::Io | Controller::Hugetlb => true,
            Controller::Cpu
            | Controller::Cpuacct
            | Controller::Cpuset
            | Controller::Memory
            | Controller::Pids => false,
        }
    }

    /// The kernel's name of it, on v2 where the two differ.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Io => "io",
            Controller::Hugetlb => "hugetlb",
        }
    }

    /// Those of v2's `names` that are used.
    pub(crate) fn among<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Controller> {
        let names: BTreeSet<&str> = names.collect();
        Self::ALL.into_iter().filter(|controller| names.contains(controller.name())).collect()
    }

    /// The same of v1's.
    fn among_v1<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Controller> {
        Self::among(names.map(|name| if name == "blkio" { "io" } else { name }))
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mounted hierarchy that is used, with its controllers that are used.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) point: PathBuf,
    pub(crate) controllers: Vec<Controller>,
}

impl Root {
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    pub(crate) fn group(&self, path: &str) -> PathBuf {
        self.point.join(path)
    }
}

/// A mounted hierarchy without a controller that each group is limited by.
#[derive(Debug)]
pub(crate) struct Other {
    /// With controllers that few groups have limits of, or none ([`Controller::is_on_demand`]).
    pub(crate) root: Root,
    pub(crate) is_v2: bool,
    /// v1's freezer.
    pub(crate) is_freezer: bool,
    /// v1's devices.
    pub(crate) is_devices: bool,
}

#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) version: Version,
    pub(crate) v1: Vec<Root>,
    /// Only where v2 has a controller that each group is limited by, or where there is nothing but v2.
    pub(crate) v2: Option<Root>,
    pub(crate) others: Vec<Other>,
}

impl Layout {
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Root> {
        self.v1.iter().chain(&self.v2)
    }
}

/// The control groups of this host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    layout: Arc<Layout>,
}

impl Hierarchy {
    /// Finds the mounted hierarchies and their controllers, from `/proc/self/mountinfo` and v2's
    /// `cgroup.controllers`. A hierarchy with none of the controllers that are used is left alone, but by
    /// [`Hierarchy::group_everywhere`].
    ///
    /// # Errors
    /// [`Error::NotMounted`] when there is nothing to make groups in; [`Error::Read`].
    pub fn detect() -> Result<Self, Error> {
        let read = |file: &str| {
            let path = Path::new("/proc/self").join(file);
            std::fs::read(&path).map_err(|source| Error::Read { path, source })
        };
        let mounts = mounts::parse(&read("mountinfo")?);
        // The kernel's own list of hierarchies tells names apart from the other options of a mount.
        let memberships = read("cgroup")?;
        let layout = layout(&mounts, &mounts::hierarchies(&String::from_utf8_lossy(&memberships)))?;
        Ok(Hierarchy { layout: Arc::new(layout) })
    }

    /// How the controllers are mounted.
    pub fn version(&self) -> Version {
        self.layout.version
    }

    /// Whether a controller can be used. CPU time used needs no controller on v2, so there
    /// [`Controller::Cpuacct`] is always had.
    pub fn has(&self, controller: Controller) -> bool {
        let on_v2 = self.layout.v2.is_some() && controller == Controller::Cpuacct;
        let others = self.layout.others.iter().map(|other| &other.root);
        on_v2 || self.layout.roots().chain(others).any(|root| root.has(controller))
    }

    /// Whether groups can be held ([`Group::freeze`]).
    pub fn can_freeze(&self) -> bool {
        self.layout.v2.is_some() || self.layout.others.iter().any(|other| other.is_freezer || other.is_v2)
    }

    /// Which controllers the outermost groups of v2 hand down: what [`Group::create`] adds to them stays, unless
    /// [`Hierarchy::hand_down_only`] takes it back.
    pub fn handed_down(&self) -> Vec<String> {
        let words = |root: &Root| control::read(&v2::subtree(root)).unwrap_or_default();
        let all: Vec<String> = self.v2_roots().map(words).collect();
        all.iter().flat_map(|words| words.split_ascii_whitespace()).map(str::to_owned).collect()
    }

    /// Has them hand down no more than these, where nobody else has come to hand it on meanwhile.
    pub fn hand_down_only(&self, these: &[String]) {
        for root in self.v2_roots() {
            let file = v2::subtree(root);
            for word in control::read(&file).unwrap_or_default().split_ascii_whitespace() {
                if !these.iter().any(|one| one == word) {
                    // A group that hands it on keeps it.
                    let _ = control::write(&file, &format!("-{word}"));
                }
            }
        }
    }

    fn v2_roots(&self) -> impl Iterator<Item = &Root> {
        let others = self.layout.others.iter().filter(|other| other.is_v2).map(|other| &other.root);
        self.layout.v2.iter().chain(others)
    }

    /// The group of that name, such as `compose/shop/shop-api-1`, whether it exists or not.
    pub fn group(&self, path: &str) -> Group {
        Group::new(Arc::clone(&self.layout), path)
    }

    /// The group of that name in every mounted hierarchy, also where no controller is used (`freezer`,
    /// `name=systemd`, a v2 without controllers). What joins it, and whatever that forks, leaves the groups
    /// of its caller behind, such as a login session's.
    ///
    /// These other hierarchies count for [`Group::create`], [`Group::enter`], [`Group::exists`],
    /// [`Group::remove`] and [`Group::remove_if_empty`], and not for the rest: processes of other groups may
    /// be in them. One that refuses, read-only for instance, is passed over. Each costs time: this is for the
    /// one group from which the others are forked, and for its parents.
    pub fn group_everywhere(&self, path: &str) -> Group {
        Group::everywhere(Arc::clone(&self.layout), path)
    }

    /// Names of the groups inside `path`, sorted, in whichever hierarchy they are: one that a crash left
    /// half made or half removed is among them.
    ///
    /// # Errors
    /// [`Error::Read`]; an absent group is not an error.
    pub fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        let mut names = BTreeSet::new();
        for root in self.layout.roots() {
            for child in control::children(&root.group(path))? {
                if let Some(name) = child.file_name() {
                    names.insert(name.to_string_lossy().into_owned());
                }
            }
        }
        Ok(names.into_iter().collect())
    }
}

fn layout(mounts: &[Mount], hierarchies: &[Vec<&str>]) -> Result<Layout, Error> {
    let mut v1: Vec<Root> = Vec::new();
    let mut others = Vec::new();
    let mut other_names: Vec<&[&str]> = Vec::new();
    let other = |mount: &Mount, controllers| Root { point: mount.point.clone(), controllers };
    let mut unified: Option<&Mount> = None;
    // A hierarchy may be mounted more than once, as containers do with a part of it: the whole comes first.
    let (whole, parts): (Vec<&Mount>, Vec<&Mount>) = mounts.iter().partition(|mount| mount.is_whole);
    for mount in whole.into_iter().chain(parts) {
        match &mount.kind {
            Kind::V2 => unified = unified.or(Some(mount)),
            Kind::V1(options) => {
                let controllers = Controller::among_v1(options.iter().map(String::as_str));
                if controllers.iter().all(|controller| controller.is_on_demand()) {
                    let has = |name: &&str| options.iter().any(|option| option == name);
                    let names = hierarchies.iter().find(|names| names.iter().any(has));
                    if let Some(names) = names.filter(|names| !other_names.contains(&names.as_slice())) {
                        other_names.push(names);
                        let is_freezer = names.contains(&"freezer");
                        let is_devices = names.contains(&"devices");
                        let root = other(mount, controllers);
                        others.push(Other { root, is_v2: false, is_freezer, is_devices });
                    }
                } else if !controllers.iter().any(|found| v1.iter().any(|root| root.has(*found))) {
                    v1.push(Root { point: mount.point.clone(), controllers });
                }
            }
        }
    }
    let is_mixed = !v1.is_empty();
    let version = match (is_mixed, unified) {
        (false, None) => return Err(Error::NotMounted),
        (true, None) => Version::V1,
        (false, Some(_)) => Version::V2,
        (true, Some(_)) => Version::Hybrid,
    };
    let mut v2 = None;
    if let Some(mount) = unified {
        let text = control::read(&mount.point.join("cgroup.controllers"))?;
        let controllers = Controller::among(text.split_whitespace());
        if !is_mixed || controllers.iter().any(|controller| !controller.is_on_demand()) {
            v2 = Some(Root { point: mount.point.clone(), controllers });
        } else {
            let root = other(mount, controllers);
            others.push(Other { root, is_v2: true, is_freezer: false, is_devices: false });
        }
    }
    Ok(Layout { version, v1, v2, others })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(point: &str, is_whole: bool, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { point: point.into(), is_whole, kind: Kind::V1(options) }
    }

    #[test]
    fn co_mounted_controllers_share_a_root_and_the_whole_mount_wins() {
        let mounts = [
            v1("/part/memory", false, &["rw", "memory"]),
            v1("/part/systemd", false, &["rw", "xattr", "name=systemd"]),
            v1("/cg/cpu,cpuacct", true, &["rw", "cpu", "cpuacct"]),
            v1("/cg/memory", true, &["rw", "memory"]),
            v1("/cg/systemd", true, &["rw", "xattr", "name=systemd"]),
            v1("/cg/net_cls,net_prio", true, &["rw", "net_cls", "net_prio"]),
            v1("/again/net_cls", true, &["rw", "net_cls", "net_prio"]),
        ];
        let names =
            [vec!["name=systemd"], vec!["net_cls", "net_prio"], vec!["memory"], vec!["cpu", "cpuacct"]];
        let found = layout(&mounts, &names).expect("controllers are mounted");
        assert_eq!(found.version, Version::V1);
        let points: Vec<_> = found.v1.iter().map(|root| root.point.to_str()).collect();
        assert_eq!(points, [Some("/cg/cpu,cpuacct"), Some("/cg/memory")]);
        let others: Vec<_> = found.others.iter().map(|other| other.root.point.to_str()).collect();
        assert_eq!(others, [Some("/cg/systemd"), Some("/cg/net_cls,net_prio")]);
    }

    #[test]
    fn nothing_mounted_is_an_error() {
        assert!(matches!(layout(&[], &[]), Err(Error::NotMounted)));
    }
}
