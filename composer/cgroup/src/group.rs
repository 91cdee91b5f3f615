//! One named group: made, limited, joined, emptied and removed in every hierarchy at once.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::hierarchy::{Layout, Other, Root};
use crate::limits::Setting;
use crate::meter::{Meter, Pressure};
use crate::pressure::{self, PressureWatch};
use crate::usage::{self, Usage};
use crate::{
    Alarm, AtLimit, Controller, DeviceRule, Error, Limits, Shortage, Unenforced, control, devices, freezer,
    hugetlb, io, on_demand, realtime, reclaim, removal, shortage, v1, v2,
};

/// A group by its name; a handle that holds nothing of the kernel. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Group {
    layout: Arc<Layout>,
    path: String,
    /// Whether hierarchies count too of which no controller is used.
    is_everywhere: bool,
}

/// Where a controller's files of a group are.
enum Place<'a> {
    V1(PathBuf),
    V2(PathBuf),
    /// In a hierarchy in which a group has a directory only where it asks for something.
    OnDemand(&'a Other),
    /// Nowhere, and why.
    Missing(String),
}

impl Group {
    pub(crate) fn new(layout: Arc<Layout>, path: &str) -> Self {
        Group { layout, path: path.to_owned(), is_everywhere: false }
    }

    pub(crate) fn everywhere(layout: Arc<Layout>, path: &str) -> Self {
        Group { layout, path: path.to_owned(), is_everywhere: true }
    }

    fn others(&self) -> &[Other] {
        if self.is_everywhere { &self.layout.others } else { &[] }
    }

    /// Its name, as in `compose/shop/shop-api-1`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Makes the group and its parents and gives it `limits`; the parents get none. A group that is there
    /// already is taken over: limits that are not in `limits` are lifted.
    ///
    /// Returns the limits that are not in force on this host.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Limit`], [`Error::Create`], or [`Error::Write`] for a value that the kernel
    /// refuses. What was made stays: the caller's undo is [`Group::remove`].
    pub fn create(&self, limits: &Limits) -> Result<Vec<Unenforced>, Error> {
        self.check_name()?;
        let (is_new, made) = persistent(|| self.make())?;
        for other in self.others() {
            // Without it, a process stays there in the group that it is in.
            let _ = persistent(|| v1::make(&other.root, &self.path));
        }
        on_demand::follow_parent(&self.layout, &self.path)?;
        let unlimited = Limits::default();
        self.set_all(is_new.then_some(&unlimited), limits, made.as_ref())
    }

    fn make(&self) -> Result<(bool, Option<v2::Made>), Error> {
        let mut is_new = true;
        for root in &self.layout.v1 {
            is_new &= v1::make(root, &self.path)?;
        }
        let made = self.layout.v2.as_ref().map(|root| v2::make(root, &self.path)).transpose()?;
        is_new &= made.as_ref().is_none_or(|made| made.is_new);
        Ok((is_new, made))
    }

    /// Changes the limits of an existing group in place, in an order in which each step is valid. `old` is
    /// what the group has now: only what differs is written. Without it all is written.
    ///
    /// Returns the limits of `new` that are not in force on this host.
    ///
    /// # Errors
    /// As [`Group::create`]. What was written before the error stays: call again without `old`.
    pub fn apply(&self, old: Option<&Limits>, new: &Limits) -> Result<Vec<Unenforced>, Error> {
        self.check_name()?;
        self.set_all(old, new, None)
    }

    /// Changes the limits of an existing group in place, all of them or none: where one is refused, those that were
    /// written before it are put back. `old` is what the group has now.
    ///
    /// Nothing is killed for a lower limit of memory: where more is in use and the kernel cannot reclaim it, the limit
    /// is refused.
    ///
    /// Returns the limits of `new` that are not in force on this host.
    ///
    /// # Errors
    /// As [`Group::create`], and [`Error::InUse`].
    pub fn update(&self, old: &Limits, new: &Limits) -> Result<Vec<Unenforced>, Error> {
        self.apply(Some(old), new).inspect_err(|_| {
            // The refusal is what the caller has to hear of. What held a moment ago can hold again.
            let _ = self.apply(None, old);
        })
    }

    /// Gives an existing group other cores than its limits say; `None` is what the group around it has.
    ///
    /// # Errors
    /// [`Error::Write`] for what the kernel refuses.
    pub fn set_cpuset(&self, cpus: Option<&str>) -> Result<(), Error> {
        let other = Limits { cpuset: cpus.is_none().then(String::new), ..Limits::default() };
        let new = Limits { cpuset: cpus.map(str::to_owned), ..Limits::default() };
        self.apply(Some(&other), &new).map(drop)
    }

    fn set_all(
        &self,
        old: Option<&Limits>,
        new: &Limits,
        made: Option<&v2::Made>,
    ) -> Result<Vec<Unenforced>, Error> {
        let on_v2 = match (&self.layout.v2, made) {
            (_, Some(made)) => made.controllers.clone(),
            (Some(root), None) => v2::enabled(&root.group(&self.path))?,
            (None, None) => Vec::new(),
        };
        let refused = made.map(|made| made.refused.as_slice()).unwrap_or_default();
        let mut unenforced = Vec::new();
        for (setting, differs) in new.settings(old) {
            let keys = setting.keys();
            if keys.is_empty() && !differs {
                continue;
            }
            match self.place(setting.controller(), &on_v2, refused) {
                Place::Missing(reason) => unenforced
                    .extend(keys.into_iter().map(|limit| Unenforced { limit, reason: reason.clone() })),
                Place::V1(_) | Place::V2(_) | Place::OnDemand(_) if !differs => {}
                Place::V1(directory) => unenforced.extend(self.set_v1(&directory, &setting)?),
                Place::V2(directory) => unenforced.extend(self.set_v2(&directory, &setting)?),
                Place::OnDemand(other) => {
                    if !keys.is_empty() {
                        on_demand::bring(&self.layout, other, &self.path)?;
                    }
                    let directory = other.root.group(&self.path);
                    match (directory.is_dir(), other.is_v2) {
                        (false, _) => {}
                        (true, true) => unenforced.extend(self.set_v2(&directory, &setting)?),
                        (true, false) => unenforced.extend(self.set_v1(&directory, &setting)?),
                    }
                }
            }
        }
        Ok(unenforced)
    }

    fn set_v1(&self, directory: &Path, setting: &Setting<'_>) -> Result<Vec<Unenforced>, Error> {
        match *setting {
            Setting::Io(io) => io::set_v1(directory, io),
            Setting::Hugetlb(sizes) => hugetlb::set(directory, hugetlb::V1, sizes),
            Setting::CpuRealTime { runtime, period } => {
                let root = self.layout.v1.iter().find(|root| root.has(Controller::Cpu));
                let set = root.map(|root| realtime::set(root, &self.path, runtime, period)).transpose()?;
                Ok(not_offered(set.flatten()))
            }
            _ => Ok(not_offered(v1::set(directory, setting)?)),
        }
    }

    fn set_v2(&self, directory: &Path, setting: &Setting<'_>) -> Result<Vec<Unenforced>, Error> {
        match *setting {
            Setting::Io(io) => io::set_v2(directory, io),
            Setting::Hugetlb(sizes) => hugetlb::set(directory, hugetlb::V2, sizes),
            _ => {
                let lost = v2::set(directory, setting)?;
                if let (Setting::MemoryReservation(_), Some(root)) = (setting, &self.layout.v2) {
                    v2::protect_parents(root, &self.path)?;
                }
                Ok(not_offered(lost))
            }
        }
    }

    fn place(
        &self,
        controller: Controller,
        on_v2: &[Controller],
        refused: &[(Controller, Error)],
    ) -> Place<'_> {
        if let Some(root) = self.layout.v1.iter().find(|root| root.has(controller)) {
            return Place::V1(root.group(&self.path));
        }
        if let Some(other) = self.layout.others.iter().find(|other| other.root.has(controller)) {
            return Place::OnDemand(other);
        }
        let Some(root) = self.layout.v2.as_ref().filter(|root| root.has(controller)) else {
            return Place::Missing(format!("this host has no {controller} controller"));
        };
        let directory = root.group(&self.path);
        if on_v2.contains(&controller) {
            return Place::V2(directory);
        }
        let cause = refused.iter().find(|(found, _)| *found == controller);
        Place::Missing(match cause {
            Some((_, error)) => format!("the {controller} controller cannot be enabled: {error}"),
            None => format!("the {controller} controller is not enabled in {}", directory.display()),
        })
    }

    /// How much real-time CPU time of each second, in microseconds, is left for the group and all inside it, beside what
    /// others have; `None` where this kernel gives out none, or as much as anybody wants.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Read`], [`Error::Content`].
    pub fn real_time_left(&self) -> Result<Option<u64>, Error> {
        self.check_name()?;
        let root = self.layout.v1.iter().find(|root| root.has(Controller::Cpu));
        Ok(root.map(|root| realtime::left(root, &self.path)).transpose()?.flatten())
    }

    /// The v1 files to which a single-threaded child writes `0` to join the group before it execs. A thread
    /// joins by `tasks` without the wait for a grace period that `cgroup.procs` has. Empty on pure v2.
    pub fn tasks_files(&self) -> Vec<PathBuf> {
        self.layout.v1.iter().map(|root| root.group(&self.path).join("tasks")).collect()
    }

    /// The files of further hierarchies to which whoever joins a group with these limits writes `0`: those in which the
    /// group, or on v1's `blkio` the group around it, has a directory because something is asked for there.
    pub fn on_demand_files(&self, limits: &Limits) -> Vec<PathBuf> {
        on_demand::files(&self.layout, &self.path, limits)
    }

    /// Refuses the group's processes all devices but these. To be called once the group is made, before anything is in it;
    /// whoever joins it has to join [`Group::devices_file`] too.
    ///
    /// # Errors
    /// [`Error::NoDevices`], [`Error::Devices`], [`Error::Create`], [`Error::Write`].
    pub fn limit_devices(&self, rules: &[DeviceRule]) -> Result<(), Error> {
        self.check_name()?;
        persistent(|| devices::limit(&self.layout, &self.path, rules))
    }

    /// The v1 file to which a child writes `0` to join the group where its devices are limited; `None` on v2.
    pub fn devices_file(&self) -> Option<PathBuf> {
        devices::tasks(&self.layout, &self.path)
    }

    /// The group's v2 directory, for clone3(2) with `CLONE_INTO_CGROUP`. `None` where v2 has no controller
    /// that is used.
    ///
    /// # Errors
    /// [`Error::Open`], with `ENOENT` when the group has not been made.
    pub fn open(&self) -> Result<Option<OwnedFd>, Error> {
        self.check_name()?;
        let Some(root) = &self.layout.v2 else {
            return Ok(None);
        };
        let path = root.group(&self.path);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(&path, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(errno) => Err(Error::Open { path, source: errno.into() }),
        }
    }

    /// Makes the group without limits and moves the calling process, which must have one thread, into it: one hierarchy
    /// after the other, so that [`Group::remove_empty_inside`] of its parent has hardly a chance to take it away between
    /// the two. Again where it did: whoever is in keeps it.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Create`], [`Error::Read`], [`Error::Write`].
    pub fn enter(&self) -> Result<(), Error> {
        self.check_name()?;
        // A thread joins by `tasks` without the wait for a grace period that `cgroup.procs` has.
        let join = |root: &Root, file| control::write(&root.group(&self.path).join(file), "0");
        for root in &self.layout.v1 {
            persistent(|| v1::make(root, &self.path).and_then(|_| join(root, "tasks")))?;
        }
        if let Some(root) = &self.layout.v2 {
            persistent(|| v2::make(root, &self.path).and_then(|_| join(root, "cgroup.procs")))?;
        }
        for other in self.others() {
            let file = if other.is_v2 { "cgroup.procs" } else { "tasks" };
            // Without it, the process stays there in the group that it is in.
            let _ = persistent(|| v1::make(&other.root, &self.path).and_then(|_| join(&other.root, file)));
        }
        Ok(())
    }

    /// Removes each group inside this one that has neither a process nor a group in it, in every hierarchy by itself,
    /// without waiting. Goes on after a failure and answers with the first one.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Remove`] for any other reason than that it is in use.
    pub fn remove_empty_inside(&self) -> Result<(), Error> {
        self.check_name()?;
        removal::remove_empty_inside(&self.layout, self.others(), &self.path)
    }

    /// Ids of the processes in the group and in the groups inside it, in any hierarchy, ascending; none
    /// when it does not exist.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        self.check_name()?;
        Ok(removal::processes(&self.layout, &self.path)?.into_iter().collect())
    }

    /// Ids of the processes that have been in the group for a while, for whoever looks often: of one hierarchy, as they
    /// are in all of them.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn members(&self) -> Result<Vec<i32>, Error> {
        self.check_name()?;
        let mut found = std::collections::BTreeSet::new();
        if let Some(root) = self.layout.roots().next() {
            removal::collect(&root.group(&self.path), &mut found)?;
        }
        Ok(found.into_iter().collect())
    }

    /// Sends SIGKILL to every process in the group and in the groups inside it. Does not wait for their end.
    ///
    /// # Errors
    /// [`Error::Kill`], [`Error::Read`], [`Error::Write`].
    pub fn kill(&self) -> Result<(), Error> {
        self.check_name()?;
        removal::kill_all(&self.layout, &self.path)?;
        freezer::thaw_all(&self.layout, &self.path)
    }

    /// Holds every process of the group and of the groups inside it, and returns when all stand still: up to 5 s where
    /// one of them waits for a disk, so not for a loop that must go on. Whoever joins the group later is held too on
    /// v2; on v1 nobody may join meanwhile.
    ///
    /// # Errors
    /// [`Error::NoFreezer`], [`Error::Freeze`], [`Error::Create`], [`Error::Read`], [`Error::Write`]; then nothing is
    /// held.
    pub fn freeze(&self) -> Result<(), Error> {
        self.check_name()?;
        freezer::freeze(&self.layout, &self.path)
    }

    /// Lets every process of the group go on; a group that is not held or not there is fine.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn thaw(&self) -> Result<(), Error> {
        self.check_name()?;
        freezer::thaw(&self.layout, &self.path)
    }

    /// Whether the group is held, or about to be.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Content`].
    pub fn is_frozen(&self) -> Result<bool, Error> {
        self.check_name()?;
        freezer::is_frozen(&self.layout, &self.path)
    }

    /// Has every process of the group held as soon as it can be, and does not wait for it: [`Group::is_still`] tells. One
    /// that waits for memory on v1 stands still once it has got some.
    ///
    /// # Errors
    /// As [`Group::freeze`].
    pub fn begin_freeze(&self) -> Result<(), Error> {
        self.check_name()?;
        freezer::begin(&self.layout, &self.path)
    }

    /// Whether every process of the group is held.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn is_still(&self) -> Result<bool, Error> {
        self.check_name()?;
        freezer::is_still(&self.layout, &self.path)
    }

    /// What is `POLLPRI` when [`Group::is_still`] has changed; `None` on v1, which tells nobody.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn stillness(&self) -> Result<Option<std::fs::File>, Error> {
        self.check_name()?;
        freezer::events(&self.layout, &self.path)
    }

    /// Sets what the kernel does when the group has reached its limit of memory; nothing where that is not accounted.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`].
    pub fn at_limit(&self, at: AtLimit) -> Result<(), Error> {
        self.check_name()?;
        shortage::set(&self.layout, &self.path, at)
    }

    /// Slows the group down from so many bytes on, or no more, on v2; for v1 see [`Group::alarm`].
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn mark(&self, bytes: Option<u64>) -> Result<(), Error> {
        self.check_name()?;
        match bytes {
            Some(bytes) => shortage::mark(&self.layout, &self.path, bytes),
            None => shortage::unmark(&self.layout, &self.path),
        }
    }

    /// On v1, has whoever faults for a page at the group's limit wait until there is one, and nothing killed for it; on v2,
    /// which has no such thing, nothing. Whoever asks for it looks whether [`Shortage::waits`].
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`].
    pub fn wait_at_limit(&self, waits: bool) -> Result<(), Error> {
        self.check_name()?;
        shortage::wait(&self.layout, &self.path, waits)
    }

    /// What goes off when the group runs out of memory or a process of it is killed for that; on v1 also when it passes
    /// `mark` bytes, on v2 when it passes those of [`Group::mark`] and of [`AtLimit::Tell`]. `None` where memory is not
    /// accounted.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Write`].
    pub fn alarm(&self, mark: Option<u64>) -> Result<Option<Alarm>, Error> {
        self.check_name()?;
        shortage::alarm(&self.layout, &self.path, mark)
    }

    /// What the group takes of its limit of memory, and what that has cost.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Content`].
    pub fn shortage(&self) -> Result<Shortage, Error> {
        self.check_name()?;
        shortage::read(&self.layout, &self.path)
    }

    /// Removes the group with the groups inside it; absent is fine. Processes must have ended or been killed:
    /// for the last of them this waits up to 5 s on v2 and, as the kernel tells nothing there, 0.25 s on v1.
    ///
    /// # Errors
    /// [`Error::Remove`] with `EBUSY` when processes are left.
    pub fn remove(&self) -> Result<(), Error> {
        self.check_name()?;
        let removed = removal::remove(&self.layout, &self.path);
        // Of the others, a group that was held has a directory in the freezer's hierarchy, one with limited devices in
        // that of devices, one that asks for disks or huge pages in theirs.
        let is_there = |other: &&Other| {
            self.is_everywhere
                || freezer::is_place(&self.layout, other)
                || devices::is_place(other)
                || on_demand::is_place(other)
        };
        let others = self.layout.others.iter().filter(is_there);
        removed.and(removal::remove_others(others, &self.path))
    }

    /// Removes the group unless a process or a group is in it, without waiting; absent is fine.
    ///
    /// # Errors
    /// [`Error::Remove`] for any other reason than that it is in use.
    pub fn remove_if_empty(&self) -> Result<(), Error> {
        self.check_name()?;
        removal::remove_if_empty(&self.layout, &self.path)
            .and(removal::remove_others_if_empty(self.others(), &self.path))
    }

    /// What the group takes and has taken.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Content`]; the figures of an absent group are absent.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.check_name()?;
        usage::read(&self.layout, &self.path)
    }

    /// Its page cache that nobody has used lately, in bytes; 0 where that is not told. It takes longer to find out.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Content`].
    pub fn inactive_file(&self) -> Result<u64, Error> {
        self.check_name()?;
        usage::inactive_file(&self.layout, &self.path)
    }

    /// What reads all its figures again and again.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn meter(&self) -> Result<Meter, Error> {
        self.check_name()?;
        Ok(Meter::open(&self.layout, &self.path))
    }

    /// Wakes whoever waits on it when the group, or one inside it, is short of memory. `None` where this kernel does not
    /// tell.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Open`], [`Error::Write`].
    pub fn watch_pressure(&self) -> Result<Option<PressureWatch>, Error> {
        self.check_name()?;
        pressure::watch(&self.layout, &self.path)
    }

    /// How long processes of the group have waited for memory; `None` where this kernel does not tell.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Read`].
    pub fn memory_pressure(&self) -> Result<Option<Pressure>, Error> {
        self.check_name()?;
        pressure::of_memory(&self.layout, &self.path)
    }

    /// Has the kernel reclaim what the group uses above `limit` bytes, as far as it can: cache goes, and what can be
    /// swapped out. Nothing is killed. It may take seconds.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Content`], [`Error::Write`].
    pub fn reclaim(&self, limit: u64) -> Result<(), Error> {
        self.check_name()?;
        reclaim::reclaim(&self.layout, &self.path, limit)
    }

    /// What a file of the group says, with its name: of the two the one that the controller's hierarchy has. `None` where
    /// the group has no such file.
    pub fn control(&self, controller: Controller, v2: &str, v1: &str) -> Option<(String, String)> {
        let Layout { v1: first, v2: second, others, .. } = &*self.layout;
        let first = first.iter().map(|root| (root, v1));
        let others = others.iter().map(|other| (&other.root, if other.is_v2 { v2 } else { v1 }));
        let mut all = first.chain(second.iter().map(|root| (root, v2))).chain(others);
        let (root, file) = all.find(|(root, _)| root.has(controller))?;
        self.check_name().ok()?;
        let text = control::read_if_there(&root.group(&self.path).join(file)).ok()??;
        Some((file.to_owned(), text.trim_end().to_owned()))
    }

    /// Whether the group is there, in any hierarchy.
    pub fn exists(&self) -> bool {
        let mut roots = self.layout.roots().chain(self.others().iter().map(|other| &other.root));
        self.check_name().is_ok() && roots.any(|root| root.group(&self.path).is_dir())
    }

    /// Names come from a user's file in the end, and removing or killing outside the hierarchy must not be
    /// possible with any of them.
    fn check_name(&self) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Name { path: self.path.clone(), reason });
        if self.path.contains(['\n', '\0']) {
            // The kernel refuses a line break, for /proc/PID/cgroup is made of lines.
            return refuse("must hold neither a line break nor a null byte");
        }
        match self.path.split('/').find(|part| matches!(*part, "" | "." | "..")) {
            Some("") => refuse("must be relative, and no part of it empty"),
            Some(_) => refuse("no part of it may be . or .."),
            None => Ok(()),
        }
    }
}

/// Makes a group, again when somebody else's last group below the same parent was removed in the midst of it,
/// and the parent; or when it was swept before anything was in it.
fn persistent<T>(make: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match make() {
            Err(error) if error.is_absence() && tries < 100 => {}
            outcome => return outcome,
        }
    }
}

/// What is not in force for want of a file, for instance where swap is not accounted.
fn not_offered(missing: Option<(&'static str, &'static str)>) -> Vec<Unenforced> {
    let missing = missing.into_iter();
    missing
        .map(|(limit, file)| Unenforced { limit, reason: format!("this kernel offers no {file}") })
        .collect()
}
