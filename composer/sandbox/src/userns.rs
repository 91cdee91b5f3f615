//! User namespaces: root inside is a user outside that owns nothing (user_namespaces(7)).
//!
//! A container's first process is made by the host's root, who mounts everything, and enters the user namespace last: what
//! is mounted stays the host's, and nobody inside can undo it. Its network, host name and IPC namespaces are the user
//! namespace's own. What lies on disk is mounted with its owners mapped (mount_setattr(2), MOUNT_ATTR_IDMAP): root's on
//! disk is root's inside, and none of it has the outer ids, so that they may be others at each start.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use caps::CapSet;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use serde::{Deserialize, Serialize};

use crate::clone::{Forked, clone3};
use crate::failure::{Doing, Result, StartFailure};
use crate::tree::on_host;
use crate::{mount, process};

/// The ids of the host that those of a container are: so many from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// Which one is root.
    pub first: u32,
}

impl IdRange {
    /// How many ids there are inside, from 0.
    pub const COUNT: u32 = 1 << 16;
    /// Who owns what nobody inside owns (/proc/sys/kernel/overflowuid).
    const NOBODY: u32 = 65534;

    /// The host's id for one inside.
    pub(crate) fn outside(self, id: u32) -> io::Result<u32> {
        if id < Self::COUNT {
            return Ok(self.first + id);
        }
        let most = Self::COUNT - 1;
        Err(io::Error::other(format!("id {id} is too high for `x-userns: auto`: ids go from 0 to {most}")))
    }

    /// The id inside for one of the host's.
    pub(crate) fn inside(self, id: u32) -> u32 {
        id.checked_sub(self.first).filter(|id| *id < Self::COUNT).unwrap_or(Self::NOBODY)
    }
}

/// The host's id for one inside, where there is a range.
pub fn outside(range: Option<IdRange>, id: u32) -> io::Result<u32> {
    range.map_or(Ok(id), |range| range.outside(id))
}

/// A user namespace by which owners of files are mapped.
pub struct Mapping<'a> {
    userns: &'a OwnedFd,
    /// A folder that is no part of what the container sees.
    aside: OwnedFd,
}

impl<'a> Mapping<'a> {
    /// `folder` is the container's own, and nothing of it is in sight once the container has its root.
    pub fn new(userns: &'a OwnedFd, folder: &Path) -> Result<Self> {
        let aside = folder.join("aside");
        let made = match fs::create_dir(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.and_then(|()| std::os::unix::fs::chown(&aside, Some(0), Some(0))),
        };
        let aside = made.and_then(|()| on_host(&aside)).doing("make", aside.display())?;
        Ok(Self { userns, aside })
    }

    /// A folder with its owners mapped, as a layer of an overlay: that takes none which lies nowhere.
    pub fn layer(&self, folder: &OwnedFd, shown: &Path) -> Result<OwnedFd> {
        let copy = mount::copy(folder, "", false).doing("mount", shown.display())?;
        self.apply(&copy, false, shown.display())?;
        mount::attach(&copy, &self.aside).doing("mount", shown.display())?;
        Ok(copy)
    }

    /// Maps the owners of what is in a copy of a mount, and of all that is mounted below it where that has come along.
    pub fn apply(&self, copy: &OwnedFd, recursive: bool, shown: impl std::fmt::Display) -> Result<()> {
        mount::map_ids(copy, self.userns.as_fd(), recursive).map_err(|error| {
            let failure = StartFailure::system("map the owners of", &shown, &error);
            let message = match error.raw_os_error() {
                Some(libc::EINVAL) => {
                    format!("{}, whose owners the kernel cannot map", filesystem(copy))
                }
                Some(libc::EPERM) => "they are mapped already, or it is not the host's".to_owned(),
                _ => failure.message.clone(),
            };
            StartFailure { message, ..failure }.at(&["x-userns"])
        })
    }
}

/// What a filesystem is, in words.
fn filesystem(of: &OwnedFd) -> String {
    let known = [
        (0x6969, "NFS"),
        (0x794c_7630, "an overlay"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9P"),
        (0x9fa0, "/proc"),
        (0x6265_6572, "/sys"),
        (0x0102_1994, "memory (tmpfs, before Linux 6.3)"),
    ];
    let Ok(stat) = rustix::fs::fstatfs(of) else { return "it is on a filesystem".to_owned() };
    let kind = stat.f_type;
    match known.into_iter().find(|(magic, _)| *magic == kind) {
        Some((_, name)) => format!("it, or something mounted in it, is on {name}"),
        None => format!("it, or something mounted in it, is on a filesystem (0x{kind:x})"),
    }
}

/// Namespaces for a container that is about to be born.
pub struct Namespaces {
    /// The user namespace.
    pub user: OwnedFd,
    others: Vec<(CloneFlags, File)>,
}

/// What a process is in, and its flag.
const OWNED: [(CloneFlags, &str); 3] =
    [(CloneFlags::CLONE_NEWNET, "net"), (CloneFlags::CLONE_NEWUTS, "uts"), (CloneFlags::CLONE_NEWIPC, "ipc")];

impl Namespaces {
    /// Which of these a user namespace is to own.
    pub fn owned(of: CloneFlags) -> CloneFlags {
        let owned = OWNED.iter().map(|(flag, _)| *flag);
        owned.fold(CloneFlags::empty(), |all, flag| all | flag) & of
    }

    /// Makes a user namespace with these ids that owns these namespaces. A process in it keeps it until that is done.
    pub fn make(range: IdRange, owned: CloneFlags) -> io::Result<Self> {
        let explained = |error: io::Error| match error.raw_os_error() {
            Some(libc::ENOSPC) => io::Error::other(
                "the host lets nobody make a user namespace: see /proc/sys/user/max_user_namespaces",
            ),
            Some(libc::EINVAL) => io::Error::other("the kernel has no user namespaces"),
            _ => error,
        };
        let (wait, going_on) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        match clone3(owned | CloneFlags::CLONE_NEWUSER, None).map_err(explained)? {
            Forked::Child => {
                drop(going_on);
                let _ = File::from(wait).read(&mut [0]);
                process::leave(0)
            }
            Forked::Parent(pid, pidfd) => {
                let made = Self::of(pid, range, owned);
                drop(going_on);
                let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
                made
            }
        }
    }

    fn of(pid: i32, range: IdRange, owned: CloneFlags) -> io::Result<Self> {
        let map = format!("0 {} {}\n", range.first, IdRange::COUNT);
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{pid}/{file}"), &map)
                .map_err(|error| io::Error::new(error.kind(), format!("write its {file}: {error}")))?;
        }
        let open = |name: &str| File::open(format!("/proc/{pid}/ns/{name}"));
        let others = OWNED.into_iter().filter(|(flag, _)| owned.contains(*flag));
        let others = others.map(|(flag, name)| Ok((flag, open(name)?))).collect::<io::Result<_>>()?;
        Ok(Self { user: open("user")?.into(), others })
    }

    /// Forks into those that it owns. The child does not come back from `fork`.
    pub fn born_inside(&self, fork: impl FnOnce() -> io::Result<Forked>) -> io::Result<Forked> {
        let own = |flag: CloneFlags| OWNED.into_iter().find(|(known, _)| *known == flag);
        let own = self.others.iter().filter_map(|(flag, _)| own(*flag));
        let own = own.map(|(flag, name)| Ok((flag, File::open(format!("/proc/self/ns/{name}"))?)));
        let own: Vec<_> = own.collect::<io::Result<_>>()?;
        let entered = self.others.iter().try_for_each(|(flag, namespace)| setns(namespace, *flag));
        let forked = entered.map_err(io::Error::from).and_then(|()| fork());
        if own.iter().any(|(flag, namespace)| setns(namespace, *flag).is_err()) {
            // Further containers would be born in them. A keeper that ends is replaced.
            std::process::abort();
        }
        forked
    }
}

/// What this process makes from here on is root's inside. It keeps all its rights.
pub fn make_files_as_root(range: IdRange) -> Result<()> {
    setfsgid(Gid::from_raw(range.first));
    setfsuid(Uid::from_raw(range.first));
    // Another user than root for files takes the rights that are about files out of effect (capabilities(7)).
    let permitted = caps::read(None, CapSet::Permitted);
    let raised = permitted.and_then(|permitted| caps::set(None, CapSet::Effective, &permitted));
    raised.map_err(|error| StartFailure::because("keep", "its capabilities", error.to_string()))
}

/// Enters a user namespace, by its descriptor or that of a process in it: with all rights there, and none outside.
pub fn enter(userns: BorrowedFd<'_>) -> Result<()> {
    setns(userns, CloneFlags::CLONE_NEWUSER).doing("enter", "its user namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_both_ways() {
        let range = IdRange { first: 0x7000_0000 };
        assert_eq!(range.outside(1000).unwrap(), 0x7000_03e8);
        assert_eq!(range.inside(0x7000_03e8), 1000);
        for foreign in [0, 1000, 0x6fff_ffff, 0x7001_0000] {
            assert_eq!(range.inside(foreign), IdRange::NOBODY, "{foreign}");
        }
        assert!(range.outside(65536).unwrap_err().to_string().contains("ids go from 0 to 65535"));
        assert_eq!(outside(None, 70000).unwrap(), 70000);
    }
}
