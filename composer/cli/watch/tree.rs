//! Folders with all below them under inotify(7).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What is told of a folder.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

/// Folders with all below them.
pub struct Tree {
    inotify: OwnedFd,
    folders: HashMap<i32, PathBuf>,
    roots: Vec<PathBuf>,
}

impl Tree {
    /// Of nothing yet.
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify, folders: HashMap::new(), roots: Vec::new() })
    }

    /// Adds a folder with all below it that `prunes` does not leave out, or a single file.
    pub fn add(&mut self, path: &Path, prunes: &dyn Fn(&Path) -> bool) -> io::Result<()> {
        self.roots.push(path.to_owned());
        if path.is_dir() {
            self.descend(path, prunes).map(drop)
        } else {
            // Editors put a new file in the place of the old one: its folder tells of both.
            self.watch(path.parent().unwrap_or(path)).map(drop)
        }
    }

    /// Watches a folder and what is below it, and lists what it has found there.
    fn descend(&mut self, top: &Path, prunes: &dyn Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut waiting = vec![top.to_owned()];
        while let Some(folder) = waiting.pop() {
            // Watched first, listed then: what appears in between is told twice rather than never.
            if !self.watch(&folder)? {
                continue;
            }
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_folder && !prunes(&path) {
                    waiting.push(path.clone());
                }
                found.push(path);
            }
        }
        Ok(found)
    }

    /// Whether the folder was still there.
    fn watch(&mut self, folder: &Path) -> io::Result<bool> {
        let what = CHANGES | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, folder, what) {
            Ok(watch) => {
                self.folders.insert(watch, folder.to_owned());
                Ok(true)
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(Errno::NOSPC) => Err(io::Error::other(format!(
                "{}: the kernel watches no more folders for this user: raise fs.inotify.max_user_watches (sysctl), \
                 or leave folders out with `ignore`",
                folder.display()
            ))),
            Err(errno) => {
                let error = io::Error::from(errno);
                Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
            }
        }
    }

    /// The paths that have changed; new folders are watched from now on.
    pub fn changes(&mut self, prunes: &dyn Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
        let (mut changed, mut fresh) = (Vec::new(), Vec::new());
        let mut buffer = [MaybeUninit::uninit(); 1 << 14];
        let mut reader = Reader::new(self.inotify.as_fd(), &mut buffer);
        let mut lost = false;
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                lost = true;
                continue;
            }
            if event.events().contains(ReadFlags::IGNORED) {
                self.folders.remove(&event.wd());
                continue;
            }
            let (Some(folder), Some(name)) = (self.folders.get(&event.wd()), event.file_name()) else {
                continue;
            };
            let path = folder.join(OsStr::from_bytes(name.to_bytes()));
            let arrived = ReadFlags::CREATE | ReadFlags::MOVED_TO;
            if event.events().contains(ReadFlags::ISDIR) && event.events().intersects(arrived) {
                fresh.push(path.clone());
            }
            changed.push(path);
        }
        for folder in fresh.into_iter().filter(|folder| !prunes(folder)) {
            changed.extend(self.descend(&folder, prunes)?);
        }
        if lost {
            // Nobody knows any more what has changed: it may be everything.
            for root in self.roots.clone() {
                changed.extend(self.descend(&root, prunes)?);
                changed.push(root);
            }
        }
        Ok(changed)
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
