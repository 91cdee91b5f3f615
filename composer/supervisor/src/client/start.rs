//! Where a stack's supervisor listens, and how it and its keeper are started.

use std::ffi::{CString, OsString};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use composer_sandbox as sandbox;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::Mode;

use super::{Error, doing};
use crate::keeper::protocol::LISTENER;
use crate::paths::StackPaths;

/// The folder of a socket, by descriptor: a stack's name may be longer than the 108 bytes that a socket's path has
/// room for (unix(7)).
pub(super) struct Place {
    folder: OwnedFd,
    name: OsString,
}

impl Place {
    /// `None` where the folder is not there.
    pub(super) fn of(socket: &Path) -> nix::Result<Option<Self>> {
        let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Ok(None);
        };
        match open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(folder) => Ok(Some(Self { folder, name: name.to_owned() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn address(&self) -> nix::Result<UnixAddr> {
        UnixAddr::new(&Path::new(&sandbox::descriptor::path(&self.folder)).join(&self.name))
    }
}

pub(super) fn root() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// Starts the keeper, which starts the supervisor. The listening socket is made here: a client can connect at
/// once, and whoever asks while a supervisor is being started again waits in the socket's queue.
pub(super) fn start(stack: &str, paths: &StackPaths) -> Result<(), Error> {
    let failed = || doing(format!("start the supervisor of stack {stack}"));
    paths.make().map_err(failed())?;
    let path = paths.socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        Ok(()) | Err(_) => {}
    }
    let kernel = |errno: Errno| failed()(errno.into());
    let listener =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(kernel)?;
    let place = Place::of(&path).map_err(kernel)?.ok_or_else(|| kernel(Errno::ENOENT))?;
    bind(listener.as_raw_fd(), &place.address().map_err(kernel)?).map_err(kernel)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed())?;
    listen(&listener, Backlog::MAXCONN).map_err(kernel)?;
    let binary = sandbox::sealed_self().map_err(|error| failed()(io::Error::other(error)))?;
    let argv = [c"compose-keeper".to_owned(), CString::new(stack).map_err(|error| failed()(error.into()))?];
    let diagnostics = OpenOptions::new().create(true).append(true).mode(0o600).open(paths.diagnostics());
    let diagnostics = diagnostics.map_err(failed())?;
    let fds = [(listener.as_fd(), LISTENER), (diagnostics.as_fd(), libc::STDERR_FILENO)];
    sandbox::spawn_daemon(binary.as_fd(), &argv, &fds).map_err(|error| failed()(io::Error::other(error)))?;
    Ok(())
}
