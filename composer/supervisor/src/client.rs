//! The CLI's side of the socket: find the supervisor of a stack, or start one, and talk to it.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};

use composer_cgroup::Hierarchy;
use composer_sandbox as sandbox;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};

use crate::channel;
use crate::keeper::protocol::LISTENER;
use crate::paths::{self, StackPaths};
use crate::protocol::{Reply, Request};

/// A connection to a stack's supervisor. One request a connection.
pub struct Client {
    stack: String,
    socket: OwnedFd,
}

/// Why the supervisor could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller lacks the privileges.
    #[error(
        "compose needs root to run containers (it makes namespaces, network links and cgroups): run it as root, for example with sudo"
    )]
    NotRoot,
    /// A system call failed.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// It went away in the middle of an answer.
    #[error("the supervisor of stack {0} went away; the next compose command finds what it left running")]
    Gone(String),
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |error| Error::Io(what, error)
}

impl Client {
    /// The supervisor of a stack of which anything exists: one that runs, or one started now to take up what a
    /// crash left. `None` where nothing is known of the stack.
    pub fn find(stack: &str) -> Result<Option<Self>, Error> {
        root()?;
        if let Some(client) = Self::connect(stack)? {
            return Ok(Some(client));
        }
        if !paths::stacks().iter().any(|known| known == stack) {
            return Ok(None);
        }
        Self::find_or_start(stack).map(Some)
    }

    /// The supervisor of a stack, started where it is not there.
    pub fn find_or_start(stack: &str) -> Result<Self, Error> {
        root()?;
        if let Some(client) = Self::connect(stack)? {
            return Ok(client);
        }
        let paths = StackPaths::new(stack);
        let _lock = lock(&paths)?;
        // Somebody else may have started it while we waited for the lock.
        if let Some(client) = Self::connect(stack)? {
            return Ok(client);
        }
        start(stack, &paths)?;
        Self::connect(stack)?.ok_or_else(|| Error::Gone(stack.to_owned()))
    }

    fn connect(stack: &str) -> Result<Option<Self>, Error> {
        let path = StackPaths::new(stack).socket();
        let failed = |errno: Errno| Error::Io(format!("connect to {}", path.display()), errno.into());
        let address = UnixAddr::new(&path).map_err(failed)?;
        let socket =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => Ok(Some(Self { stack: stack.to_owned(), socket })),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Sends the request, with descriptors for `Exec`.
    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        channel::send(self.socket.as_fd(), request, fds).map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET) => Error::Gone(self.stack.clone()),
            _ => Error::Io("send the request".to_owned(), error),
        })
    }

    /// Waits for the next answer; a descriptor comes with `Executing`. Where the answer ends the stack, this
    /// returns once both processes have ended too and what they stood on is gone.
    pub fn receive(&self) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let received = channel::receive::<Reply>(self.socket.as_fd()).map_err(doing("read the answer"))?;
        let (reply, fds) = received.ok_or_else(|| Error::Gone(self.stack.clone()))?;
        match reply {
            Reply::Done | Reply::Failed(_) if !fds.is_empty() => {
                self.see_off(&fds)?;
                Ok((reply, Vec::new()))
            }
            reply => Ok((reply, fds)),
        }
    }

    fn see_off(&self, processes: &[OwnedFd]) -> Result<(), Error> {
        // They end when their last client has gone: this one.
        nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both)
            .map_err(|errno| Error::Io("close the connection".to_owned(), errno.into()))?;
        for process in processes {
            let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        }
        let hierarchy =
            Hierarchy::detect().map_err(|error| Error::Io(error.to_string(), io::ErrorKind::Other.into()))?;
        // What is left of them is swept by the next stack that ends.
        let _ = hierarchy.group(&format!("compose/.engine/{}", self.stack)).remove();
        for shared in ["compose/.engine", "compose"] {
            let _ = hierarchy.group(shared).remove_if_empty();
        }
        paths::tidy();
        Ok(())
    }
}

impl AsFd for Client {
    /// Readable when [`Client::receive`] will not block.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn root() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// Locks the starting of this stack's processes. Whoever ends a stack unlinks the file: one that has been
/// unlinked while we waited for it locks nothing any more.
fn lock(paths: &StackPaths) -> Result<Flock<File>, Error> {
    let path = paths.start_lock();
    let failed = || doing(format!("lock {}", path.display()));
    loop {
        if let Some(folder) = path.parent() {
            paths::make(folder).map_err(failed())?;
        }
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed())?,
        };
        let file = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed()(io::Error::from(errno)))?;
        let ours = file.metadata().map_err(failed())?;
        if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

/// Starts the keeper, which starts the supervisor. The listening socket is made here: a client can connect at
/// once, and whoever asks while a supervisor is being started again waits in the socket's queue.
fn start(stack: &str, paths: &StackPaths) -> Result<(), Error> {
    let failed = || doing(format!("start the supervisor of stack {stack}"));
    paths::make(&paths.run()).map_err(failed())?;
    paths::make(&paths.containers()).map_err(failed())?;
    let path = paths.socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        Ok(()) | Err(_) => {}
    }
    let kernel = |errno: Errno| failed()(errno.into());
    let listener =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(kernel)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).map_err(kernel)?).map_err(kernel)?;
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
