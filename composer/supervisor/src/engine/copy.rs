//! Files into and out of a running container.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use composer_sandbox::archive;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::{Engine, asyncfd, exec, operations};
use crate::clock;
use crate::protocol::{Action, Copy, Event, Failure, Reply, Subject, Way};

/// As much as a pipe holds (pipe(7)).
const BUFFER: usize = 1 << 16;

impl Engine {
    /// Copies, on a thread of its own; what was left out is answered as a warning.
    pub(super) async fn copy(
        &self,
        request: Copy,
        fds: Vec<OwnedFd>,
        client: &AsyncFd<OwnedFd>,
    ) -> Result<Option<Reply>, Failure> {
        let Copy { container: name, path, way } = request;
        let failed = |error: io::Error| operations::failure(format!("copy: {name}: {error}"));
        let container = self.container(&name);
        let container = container.ok_or_else(|| operations::failure(format!("no such container: {name}")))?;
        let (process, end) = match &*container.live.borrow() {
            Some(live) => (live.pidfd.try_clone().map_err(failed)?, live.pidfd.try_clone().map_err(failed)?),
            None => {
                return Err(operations::failure(format!(
                    "container {name} is not running: its files are there only while it is; start it first"
                )));
            }
        };
        let end = asyncfd::readable(end).map_err(failed)?;
        let (sender, done) = oneshot::channel();
        // Closed when nobody waits for the thread any more, however that comes.
        let (stop, _going_on) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        archive::inside(
            process,
            move || copy(&path, way, fds.into_iter().next(), stop),
            // Fails where nobody waits any more.
            |result| drop(sender.send(result)),
        )
        .map_err(failed)?;
        let result = tokio::select! {
            biased;
            result = done => result.unwrap_or_else(|error| Err(io::Error::other(error))),
            // The thread may be held by a stream that nobody writes or reads, or by a file system of the container's
            // own: neither holds us.
            () = exec::hangup(client) => Err(io::Error::other("its client has gone")),
            _ = end.readable() => Err(io::Error::other("the container has ended")),
        };
        let left_out = result.map_err(failed)?;
        let warning = format!("devices are not copied: {}", left_out.join(", "));
        let subject = Subject::Container { name, service: container.record.borrow().service.name.clone() };
        let event = Event { time: clock::now(), subject, action: Action::Warning(warning) };
        Ok((!left_out.is_empty()).then_some(Reply::Event(event)))
    }
}

/// A stream that ends when nobody waits for it any more, which it learns by `stop`.
struct Stream {
    file: File,
    stop: OwnedFd,
}

impl Stream {
    fn new(fd: Option<OwnedFd>, stop: OwnedFd) -> io::Result<Self> {
        let fd = fd.ok_or_else(|| io::Error::other("no stream came along"))?;
        // A pipe that has some room is not to block who writes more.
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { file: fd.into(), stop })
    }

    /// Does this once the stream is ready for it.
    fn when<T>(&self, events: PollFlags, mut work: impl FnMut(&File) -> io::Result<T>) -> io::Result<T> {
        loop {
            let mut fds =
                [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN), PollFd::new(self.file.as_fd(), events)];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            if fds[0].any() != Some(false) {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "nobody waits for it any more"));
            }
            match work(&self.file) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.when(PollFlags::POLLIN, |mut file| file.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.when(PollFlags::POLLOUT, |mut file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn copy(path: &str, way: Way, stream: Option<OwnedFd>, stop: OwnedFd) -> io::Result<Vec<String>> {
    match way {
        Way::Out { name, follow } => {
            let stream = BufWriter::with_capacity(BUFFER, Stream::new(stream, stop)?);
            archive::pack(Path::new(path), &name, follow, stream).map(|()| Vec::new())
        }
        Way::In { rule, owner } => {
            let mut stream = BufReader::with_capacity(BUFFER, Stream::new(stream, stop)?);
            let left_out = archive::unpack(path, &rule, owner, &mut stream)?;
            // What follows the end of the archive: whoever writes it is not to be stopped in the middle.
            io::copy(&mut stream, &mut io::sink())?;
            Ok(left_out)
        }
        Way::Remove { top } => archive::remove(Path::new(path), Path::new(&top)).map(|()| Vec::new()),
    }
}
