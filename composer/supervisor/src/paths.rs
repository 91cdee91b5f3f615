//! Where things are on the host. Every path is a function of stack and container names.
//!
//! `/run/compose` holds what a reboot may take (sockets, FIFOs, the registry of subnets), `/var/lib/compose`
//! what it may not (records, writable layers, logs, volumes). All of it is root's alone.

use std::io;
use std::path::{Path, PathBuf};

use composer_network::Folder;

const RUN: &str = "/run/compose";
const STATE: &str = "/var/lib/compose";
/// The parent of the cgroups of all stacks' keepers and supervisors.
pub(crate) const ENGINE_GROUPS: &str = "compose/.engine";
/// What the folders of anonymous volumes begin with.
const ANONYMOUS: &str = "volume-";

/// The store of images.
pub(crate) fn images() -> PathBuf {
    Path::new(STATE).join("images")
}

/// The folders of one stack.
#[derive(Clone, Debug)]
pub struct StackPaths {
    stack: String,
    run: PathBuf,
    state: PathBuf,
}

impl StackPaths {
    /// Of the stack with this name.
    pub fn new(stack: &str) -> Self {
        Self { stack: stack.to_owned(), run: RUN.into(), state: STATE.into() }
    }

    /// The same below another folder.
    #[cfg(test)]
    pub(crate) fn at(base: &Path, stack: &str) -> Self {
        Self { stack: stack.to_owned(), run: base.join("run"), state: base.join("state") }
    }

    /// What a reboot may take.
    pub fn run(&self) -> PathBuf {
        self.run.join("stacks").join(&self.stack)
    }

    /// Where the supervisor listens.
    pub fn socket(&self) -> PathBuf {
        self.run().join("supervisor.sock")
    }

    /// Locked by whoever starts the two processes, while it starts them.
    pub fn start_lock(&self) -> PathBuf {
        self.run.join(format!("{}.lock", self.stack))
    }

    /// Locked by the supervisor for as long as it lives: one writer a stack.
    pub fn writer_lock(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// Records, logs and writable layers.
    pub fn state(&self) -> PathBuf {
        self.state.join("stacks").join(&self.stack)
    }

    /// The stack's record.
    pub fn record(&self) -> PathBuf {
        self.state().join("stack.json")
    }

    /// What has happened to its containers: see [`crate::events`].
    pub fn events(&self) -> PathBuf {
        self.state().join("events.jsonl")
    }

    /// Which commands had their turn last: see `engine::turn`.
    pub fn turns(&self) -> PathBuf {
        self.state().join("turns.json")
    }

    /// What had happened before that.
    pub fn earlier_events(&self) -> PathBuf {
        self.state().join("events.1.jsonl")
    }

    /// What the containers' secrets and configs hold, by digest: in memory, as far as /run is.
    pub fn contents(&self) -> PathBuf {
        self.run().join("contents")
    }

    /// Where the two processes write what they cannot tell anybody.
    pub fn diagnostics(&self) -> PathBuf {
        self.state().join("supervisor.log")
    }

    /// Whiteouts over the host's secrets, shared by the stack's containers (`composer_sandbox::host`).
    pub fn host_mask(&self) -> PathBuf {
        self.state().join("mask")
    }

    /// What lies below the root filesystems of all containers over root folders (`composer_sandbox::prepare_base`).
    pub fn base(&self) -> PathBuf {
        self.state().join("base")
    }

    /// The folder of all containers.
    pub fn containers(&self) -> PathBuf {
        self.state().join("containers")
    }

    /// The names of those of which anything is there.
    pub fn container_names(&self) -> impl Iterator<Item = String> + use<> {
        let folders = std::fs::read_dir(self.containers()).into_iter().flatten().flatten();
        folders.filter_map(|entry| entry.file_name().into_string().ok())
    }

    /// Makes the folders of the stack.
    pub fn make(&self) -> io::Result<()> {
        make_spread(&self.run().join("containers"))?;
        make_spread(&self.containers())
    }

    /// The folders of one container.
    pub fn container(&self, name: &str) -> ContainerPaths {
        ContainerPaths { folder: self.containers().join(name), run: self.run().join("containers").join(name) }
    }
}

/// The folders and files of one container.
#[derive(Clone, Debug)]
pub struct ContainerPaths {
    folder: PathBuf,
    run: PathBuf,
}

impl ContainerPaths {
    /// What outlives its program.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is there from its program's start to its end.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Its record.
    pub fn record(&self) -> PathBuf {
        self.folder.join("record.json")
    }

    /// Its program.
    pub fn started(&self) -> PathBuf {
        self.run.join("started.json")
    }

    /// Its health.
    pub fn health(&self) -> PathBuf {
        self.run.join("health.json")
    }

    /// What is known of its memory.
    pub fn memory(&self) -> PathBuf {
        self.run.join("memory.json")
    }

    /// The FIFO of its standard stream: `in`, `out` or `err`.
    pub fn fifo(&self, stream: &str) -> PathBuf {
        self.run.join(stream)
    }

    /// The folder of its log's files: see [`crate::logs`].
    pub fn log(&self) -> &Path {
        &self.folder
    }

    /// What it has written over its root filesystem.
    pub fn upper(&self) -> PathBuf {
        self.folder.join("upper")
    }

    /// overlayfs's scratch folder.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// An anonymous volume, by the path that it is mounted at, which may be longer than a file's name.
    pub fn anonymous(&self, target: &str) -> PathBuf {
        self.folder.join(format!("{ANONYMOUS}{}", &composer_stack::sha256(target)[..16]))
    }

    /// The same as it was called once, by its place among the service's mounts.
    pub fn numbered_anonymous(&self, mount: usize) -> PathBuf {
        self.folder.join(format!("{ANONYMOUS}{mount}"))
    }

    /// What a step of `pre_start` writes over its root filesystem, while it runs.
    pub fn pre_start(&self) -> PathBuf {
        self.folder.join("pre_start")
    }
}

/// A named volume by its name on the host. Whatever the name is, this is a folder of its own among the others: the
/// reader of the file refuses what is no name, and `down` has to work without it.
pub fn volume(name: &str) -> PathBuf {
    below(&volumes(), name)
}

fn below(folder: &Path, name: &str) -> PathBuf {
    let name = as_file(name);
    // Joined as it is, an empty name would be the folder of all volumes.
    folder.join(if name.is_empty() { "%" } else { name.as_str() })
}

/// All named volumes.
pub fn volumes() -> PathBuf {
    Path::new(STATE).join("volumes")
}

/// The records of named volumes, beside the volumes: what is in those is the user's.
pub fn volume_records() -> PathBuf {
    Path::new(STATE).join("volume-records")
}

/// The record of a named volume, which is also what is locked for it.
pub fn volume_record(name: &str) -> PathBuf {
    volume_records().join(format!("{}.json", as_file(name)))
}

/// Where volumes are that are mounted, and who uses them.
pub fn mounted_volumes() -> PathBuf {
    Path::new(RUN).join("volumes")
}

/// The same of one.
pub fn mounted_volume(name: &str) -> PathBuf {
    mounted_volumes().join(as_file(name))
}

/// A name as one of a file: no part of it leads elsewhere.
pub fn as_file(name: &str) -> String {
    let name = name.replace('%', "%25").replace('/', "%2F");
    if name.starts_with('.') { name.replacen('.', "%2E", 1) } else { name }
}

/// The name that a file is called after by [`as_file`].
pub fn of_file(file: &str) -> String {
    file.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")
}

/// The records of networks that stacks share.
pub fn networks() -> PathBuf {
    Path::new(STATE).join("networks")
}

/// The record of a network that stacks share.
pub fn network(name: &str) -> PathBuf {
    networks().join(format!("{}.json", as_file(name)))
}

/// Where stacks tell each other their names on such networks.
pub fn all_shared_names() -> PathBuf {
    registry().join("networks")
}

/// The same of one network.
pub fn shared_names(network: &str) -> PathBuf {
    all_shared_names().join(as_file(network))
}

/// The folder of all that is for as long as the host runs; it is there as long as any stack is.
pub fn run() -> &'static Path {
    Path::new(RUN)
}

/// The registry of what stacks share.
pub fn registry() -> PathBuf {
    Path::new(RUN).join("host")
}

/// Makes a folder and its parents, for root alone.
pub fn make(folder: &Path) -> io::Result<()> {
    Folder::new(folder).make()
}

/// Makes a folder whose folders have nothing to do with each other: ext4 then spreads them over the disk (`T` in
/// chattr(1)). Without a journal it does not use an inode again for minutes, and looks at each one that was deleted
/// nearby whenever it makes a file: side by side, the last stack's files would slow down the next one's.
fn make_spread(folder: &Path) -> io::Result<()> {
    make(folder)?;
    // Advice, which other filesystems need not know.
    if let Ok(folder) = std::fs::File::open(folder) {
        let flags = rustix::fs::ioctl_getflags(&folder).map(|flags| flags | rustix::fs::IFlags::TOPDIR);
        let _ = flags.and_then(|flags| rustix::fs::ioctl_setflags(&folder, flags));
    }
    Ok(())
}

/// Makes the folder of a named volume; whether it was not there before.
pub(crate) fn make_volume(name: &str) -> io::Result<bool> {
    let made = despite_tidying(|| {
        make(&volumes())?;
        // For whatever user the service runs as, other than the folder above.
        std::fs::create_dir(volume(name))
    });
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        other => other.map(|()| true),
    }
}

/// Moves a folder among the named volumes, where it is the one with this name.
///
/// Where those are on a filesystem of their own, it stays on its own, and a link stands for it there.
pub(crate) fn take_in_volume(folder: &Path, name: &str) -> io::Result<()> {
    let moved = despite_tidying(|| {
        make(&volumes())?;
        std::fs::rename(folder, volume(name))
    });
    match moved {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        moved => return moved,
    }
    // The link first: without the folder it stands for nothing, and the folder is still its container's.
    match std::os::unix::fs::symlink(linked_volume(name), volume(name)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    despite_tidying(|| {
        make(&linked_volumes())?;
        std::fs::rename(folder, linked_volume(name))
    })
}

/// Volumes that a link among the others stands for.
fn linked_volumes() -> PathBuf {
    Path::new(STATE).join("linked-volumes")
}

/// The same of one.
pub(crate) fn linked_volume(name: &str) -> PathBuf {
    below(&linked_volumes(), name)
}

/// Whether a container's folder of this name is an anonymous volume.
pub(crate) fn is_anonymous(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(ANONYMOUS.as_bytes())
}

/// Again where another stack's end took away an empty parent in the midst of it. That many ends at once cannot be.
pub(crate) fn despite_tidying(make: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let is_gone =
        |made: &io::Result<()>| made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    std::iter::repeat_with(&make).take(100).find(|made| !is_gone(made)).unwrap_or_else(make)
}

/// Takes away the folders above stacks, volumes and what stacks share where nothing is in them any more.
pub fn tidy() {
    let within =
        ["stacks", ""].into_iter().flat_map(|folder| [RUN, STATE].map(|base| Path::new(base).join(folder)));
    // Another stack's contents keep a folder: that is what rmdir is asked for.
    for folder in [all_shared_names(), registry()].into_iter().chain(within) {
        Folder::new(&folder).tidy_unlocked();
    }
}

/// Takes away the folders of volumes where none is left.
pub fn tidy_volumes() {
    let _ = std::fs::remove_dir(volumes());
    let _ = std::fs::remove_dir(volume_records());
    let _ = std::fs::remove_dir(linked_volumes());
}

/// The folder of what is recorded of all stacks.
pub fn stacks_folder() -> PathBuf {
    Path::new(STATE).join("stacks")
}

/// The cgroup of a stack's two processes, outside the stack's cap.
pub(crate) fn engine_group(stack: &str) -> String {
    format!("{ENGINE_GROUPS}/{stack}")
}

/// Names of the stacks of which anything is recorded.
pub fn stacks() -> Vec<String> {
    let mut names: Vec<String> = [RUN, STATE]
        .iter()
        .filter_map(|base| std::fs::read_dir(Path::new(base).join("stacks")).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_of_a_volume_is_a_folder_of_its_own_among_the_others() {
        let names = ["", ".", "..", "%", "%2E", "a", "a/b", "/", "../x", "a%2Fb", "%25"];
        let folders: HashSet<PathBuf> = names.iter().map(|name| volume(name)).collect();
        assert_eq!(folders.len(), names.len());
        for folder in folders {
            assert_eq!(folder.parent(), Some(volumes().as_path()), "{}", folder.display());
            assert!(folder.file_name().is_some_and(|name| name != ".."));
        }
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            assert_eq!(of_file(&as_file(name)), name);
        }
    }
}
