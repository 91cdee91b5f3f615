//! Paths inside a root filesystem that is not ours yet: every step stays below its root, whatever symbolic links say
//! (openat2(2), RESOLVE_IN_ROOT).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2, readlinkat, symlinkat};
use rustix::io::Errno;

/// As many symbolic links as the kernel follows in one path (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A root filesystem.
pub struct Tree {
    root: OwnedFd,
    parts: Vec<OwnedFd>,
}

/// What to make where a path does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A folder.
    Folder,
    /// An empty file.
    File,
}

impl Tree {
    /// The tree below this folder.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, parts: Vec::new() }
    }

    /// The tree with mounts that make up its root filesystem beside the root's own.
    pub fn with_parts(self, parts: Vec<OwnedFd>) -> Self {
        Self { parts, ..self }
    }

    /// Its root.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The mounts that make up its root filesystem.
    pub fn root_mounts(&self) -> impl Iterator<Item = &OwnedFd> {
        std::iter::once(&self.root).chain(&self.parts)
    }

    /// What is at a path.
    pub fn find(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        Ok(self.open(path.as_ref(), OFlags::PATH)?)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        // Absolute paths begin at the root as well; an empty one means it.
        let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Something was renamed meanwhile; the kernel asks to try again.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
    }

    /// What is at a path, made with its parents (mode 0755, root's) where it does not exist. A symbolic link to
    /// something that is missing is followed, as a container engine does for /etc/resolv.conf.
    pub fn ensure(&self, path: impl AsRef<Path>, missing: Missing) -> io::Result<OwnedFd> {
        let path = path.as_ref();
        match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => self.make(path, missing, MOST_LINKS),
            other => Ok(other?),
        }
    }

    /// The folder of this name directly in the root, made where there is none. Nothing leads elsewhere: what the kernel
    /// shows is mounted here, and its masks have to lie where programs look for it.
    pub fn top(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let open = || openat2(&self.root, name, flags, Mode::empty(), resolve);
        let opened = match open() {
            Err(Errno::NOENT) => mkdirat(&self.root, name, Mode::from_raw_mode(0o755)).and_then(|()| open()),
            other => other,
        };
        opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => io::Error::other(format!(
                "/{name} of the root filesystem is a file or a symbolic link and has to be a folder; \
                 remove it from the image"
            )),
            errno => errno.into(),
        })
    }

    fn make(&self, path: &Path, missing: Missing, links: usize) -> io::Result<OwnedFd> {
        if links == 0 {
            return Err(Errno::LOOP.into());
        }
        let parts: Vec<&OsStr> = path
            .components()
            .filter_map(|component| match component {
                Component::Normal(part) => Some(part),
                Component::ParentDir => Some(OsStr::new("..")),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
            })
            .collect();
        let mut done = PathBuf::from("/");
        let mut here = self.open(&done, OFlags::PATH)?;
        for (place, part) in parts.iter().enumerate() {
            let last = place + 1 == parts.len();
            let next = done.join(part);
            match self.open(&next, OFlags::PATH) {
                Ok(found) => here = found,
                Err(Errno::NOENT) => {
                    if let Ok(link) = readlinkat(&here, *part, Vec::new()) {
                        let link = Path::new(OsStr::from_bytes(link.as_bytes())).to_owned();
                        let rest: PathBuf = parts.iter().skip(place + 1).collect();
                        return self.make(&done.join(link).join(rest), missing, links - 1);
                    }
                    if last && missing == Missing::File {
                        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                        drop(rustix::fs::openat(&here, *part, flags, Mode::from_raw_mode(0o644))?);
                    } else {
                        mkdirat(&here, *part, Mode::from_raw_mode(0o755))?;
                    }
                    here = self.open(&next, OFlags::PATH)?;
                }
                Err(errno) => return Err(errno.into()),
            }
            done = next;
        }
        Ok(here)
    }
}

/// Opens what is at a path in the container that this process has entered. No link leads it to a descriptor of its
/// own through /proc/self/fd: some are the host's (CVE-2024-21626).
pub fn inside(path: impl AsRef<Path>, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(Tree::new(on_host(Path::new("/"))?).open(path.as_ref(), flags)?)
}

/// Opens a folder or file of the host's as a place to mount from or on.
pub fn on_host(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a symbolic link.
pub fn link(at: impl AsFd, name: &str, to: &str) -> io::Result<()> {
    Ok(symlinkat(to, at, name)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(name: &str) -> (PathBuf, Tree) {
        let folder = std::env::temp_dir().join(format!("compose-tree-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let tree = Tree::new(on_host(&folder).unwrap());
        (folder, tree)
    }

    #[test]
    fn links_do_not_lead_out() {
        let (folder, tree) = tree("out");
        symlink("/", folder.join("up")).unwrap();
        symlink("../../../../..", folder.join("far")).unwrap();
        tree.ensure("/up/far/new/folder", Missing::Folder).unwrap();
        assert!(folder.join("new/folder").is_dir());
        assert!(tree.find("/up/etc/passwd").is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn no_link_leads_to_a_descriptor() {
        let (folder, _) = tree("magic");
        let held = on_host(Path::new("/")).unwrap();
        symlink(crate::descriptor::path(&held), folder.join("work")).unwrap();
        let error = inside(folder.join("work"), OFlags::PATH | OFlags::DIRECTORY).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        assert!(inside(&folder, OFlags::PATH | OFlags::DIRECTORY).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_link_to_something_missing_is_followed() {
        let (folder, tree) = tree("dangling");
        fs::create_dir(folder.join("etc")).unwrap();
        symlink("../run/systemd/resolve/stub-resolv.conf", folder.join("etc/resolv.conf")).unwrap();
        tree.ensure("/etc/resolv.conf", Missing::File).unwrap();
        assert!(folder.join("run/systemd/resolve/stub-resolv.conf").is_file());
        symlink("loop", folder.join("loop")).unwrap();
        assert!(tree.ensure("/loop/x", Missing::Folder).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_at_the_top_is_one() {
        let (folder, tree) = tree("top");
        fs::create_dir(folder.join("real")).unwrap();
        symlink("real", folder.join("link")).unwrap();
        symlink("missing", folder.join("dangling")).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        tree.top("real").unwrap();
        tree.top("new").unwrap();
        assert!(folder.join("new").is_dir());
        for name in ["link", "dangling", "file"] {
            let message = tree.top(name).unwrap_err().to_string();
            assert!(message.contains(&format!("/{name} of the root filesystem")), "{message}");
        }
        assert!(!folder.join("missing").exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let (folder, tree) = tree("file");
        fs::write(folder.join("file"), "").unwrap();
        assert!(tree.ensure("/file/below", Missing::Folder).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
