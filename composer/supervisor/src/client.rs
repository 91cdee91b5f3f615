//! The CLI's side of the socket: find the supervisor of a stack, or start one, and talk to it.

use std::cell::{OnceCell, RefCell};
use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use composer_cgroup::Hierarchy;
use composer_sandbox as sandbox;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::Mode;

use crate::channel;
use crate::keeper::protocol::LISTENER;
use crate::paths::{self, StackPaths};
use crate::protocol::{Following, Reply, Request};

/// How often a request is made again. A supervisor that dies takes what queues at its listener along; one that dies of
/// the request itself is to be heard of.
const TRIES: usize = 4;

/// A connection to a stack's supervisor. One request a connection: where that ends before the answer, the request is
/// made again on a new one.
pub struct Client {
    stack: String,
    first: OwnedFd,
    /// The connections that followed it. None is replaced: whoever waits has borrowed the last one.
    later: [OnceCell<OwnedFd>; TRIES],
    /// What was asked, for as long as it may be asked again.
    asked: RefCell<Option<Asked>>,
}

/// A request with its descriptors.
struct Asked {
    request: Request,
    fds: Vec<OwnedFd>,
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
        let Some(place) = Place::of(&path).map_err(failed)? else {
            return Ok(None);
        };
        let address = place.address().map_err(failed)?;
        let socket =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => Ok(Some(Self {
                stack: stack.to_owned(),
                first: socket,
                later: Default::default(),
                asked: RefCell::default(),
            })),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Sends the request, with descriptors for `Exec`.
    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let fds = fds.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>();
        self.ask(Asked {
            request: request.clone(),
            fds: fds.map_err(doing("keep the request's descriptors"))?,
        })
    }

    fn ask(&self, asked: Asked) -> Result<(), Error> {
        let fds: Vec<_> = asked.fds.iter().map(AsFd::as_fd).collect();
        while let Err(error) = channel::send(self.as_fd(), &asked.request, &fds) {
            match error.raw_os_error() {
                Some(libc::EPIPE | libc::ECONNRESET) => self.renew()?,
                _ => return Err(Error::Io("send the request".to_owned(), error)),
            }
        }
        // Whoever watches has to look at what it has missed, and of a stream some is gone: neither can be asked again.
        let once = matches!(asked.request, Request::Watch | Request::Copy(_));
        *self.asked.borrow_mut() = (!once).then_some(asked);
        Ok(())
    }

    /// Connects anew, which starts the two processes where they are gone.
    fn renew(&self) -> Result<(), Error> {
        let free = self.later.iter().find(|later| later.get().is_none());
        let free = free.ok_or_else(|| Error::Gone(self.stack.clone()))?;
        // Cannot fail: it is free.
        let _ = free.set(Self::find_or_start(&self.stack)?.first);
        Ok(())
    }

    /// Says that whoever follows a container leaves, and that its program runs on.
    pub fn detach(&self) -> Result<(), Error> {
        channel::send(self.as_fd(), &Following::Leaves, &[]).map_err(doing("leave the container"))
    }

    /// Says that whoever follows a container has its log open.
    pub fn has_log(&self) -> Result<(), Error> {
        match channel::send(self.as_fd(), &Following::HasLog, &[]) {
            // A supervisor that has died is noticed by the next answer.
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)) => {
                Err(doing("follow the container")(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits for the next answer; a descriptor comes with `Executing`. Where the answer ends the stack, this
    /// returns once both processes have ended too and what they stood on is gone.
    pub fn receive(&self) -> Result<(Reply, Vec<OwnedFd>), Error> {
        loop {
            if let Some(answer) = self.next()? {
                return Ok(answer);
            }
        }
    }

    /// As [`Client::receive`]; `None` where the supervisor has died and the request was made again, so that whoever
    /// waits for other things too goes on waiting for all.
    pub fn next(&self) -> Result<Option<(Reply, Vec<OwnedFd>)>, Error> {
        let received = channel::receive::<Reply>(self.as_fd()).map_err(doing("read the answer"))?;
        let asked = self.asked.take();
        let Some((reply, fds)) = received else {
            let asked = asked.ok_or_else(|| Error::Gone(self.stack.clone()))?;
            self.renew()?;
            return self.ask(asked).map(|()| None);
        };
        // `up`, `down` and `stop` go on from whatever they find, so they may be asked for again after any event; a
        // program that runs must not run twice.
        let again = matches!(reply, Reply::Event(_) | Reply::Containers(_));
        *self.asked.borrow_mut() = asked.filter(|_| again);
        match reply {
            Reply::Done | Reply::Failed(_) if !fds.is_empty() => {
                self.see_off(&fds)?;
                Ok(Some((reply, Vec::new())))
            }
            reply => Ok(Some((reply, fds))),
        }
    }

    fn see_off(&self, processes: &[OwnedFd]) -> Result<(), Error> {
        // They end when their last client has gone: this one.
        nix::sys::socket::shutdown(self.as_fd().as_raw_fd(), nix::sys::socket::Shutdown::Both)
            .map_err(|errno| Error::Io("close the connection".to_owned(), errno.into()))?;
        for process in processes {
            let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        }
        let hierarchy =
            Hierarchy::detect().map_err(|error| Error::Io(error.to_string(), io::ErrorKind::Other.into()))?;
        // What is left of them is swept by the next stack that ends.
        let _ = hierarchy.group_everywhere(&format!("compose/.engine/{}", self.stack)).remove();
        for shared in ["compose/.engine", "compose"] {
            let _ = hierarchy.group_everywhere(shared).remove_if_empty();
        }
        paths::tidy();
        Ok(())
    }
}

impl AsFd for Client {
    /// Readable when [`Client::next`] will not block.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.later.iter().rev().find_map(OnceCell::get).unwrap_or(&self.first).as_fd()
    }
}

/// The folder of a socket, by descriptor: a stack's name may be longer than the 108 bytes that a socket's path has
/// room for (unix(7)).
struct Place {
    folder: OwnedFd,
    name: OsString,
}

impl Place {
    /// `None` where the folder is not there.
    fn of(socket: &Path) -> nix::Result<Option<Self>> {
        let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Ok(None);
        };
        match open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(folder) => Ok(Some(Self { folder, name: name.to_owned() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn address(&self) -> nix::Result<UnixAddr> {
        UnixAddr::new(&Path::new(&sandbox::descriptor::path(&self.folder)).join(&self.name))
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
