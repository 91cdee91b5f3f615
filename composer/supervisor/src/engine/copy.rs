//! Files into and out of a container.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use composer_sandbox::archive::{self, AtRest};
use composer_stack::{Rootfs, Service};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::unix::AsyncFd;
use tokio::sync::{MutexGuard, oneshot};

use super::container::Container;
use super::start::StartError;
use super::{Engine, asyncfd, exec, operations};
use crate::clock;
use crate::protocol::{Action, Copy, Event, Failure, Reply, Subject, Way};

/// As much as a pipe holds (pipe(7)).
pub const BUFFER: usize = 1 << 16;

/// Where a container's files are.
enum Place<'a> {
    /// Where its program has them; told twice which that is.
    Running(OwnedFd, AsyncFd<OwnedFd>),
    /// On the disk, where they stay as long as the gate is held.
    AtRest(Box<AtRest>, MutexGuard<'a, ()>),
}

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
        if let Way::Layer { pause } = way {
            return self.layer(&container, pause, fds.into_iter().next(), client).await.map(|()| None);
        }
        let mut asked = container.asked();
        let place = self.place_of(&container, &way).await?;
        let (sender, mut done) = oneshot::channel();
        // Closed when nobody waits for the thread any more, however that comes.
        let (stop, going_on) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let work = move || copy(&path, way, fds.into_iter().next(), stop);
        // Fails where nobody waits any more.
        let tell = |result| drop(sender.send(result));
        let given_up = |why: &str| Err(io::Error::other(why.to_owned()));
        let result = match place {
            Place::Running(process, end) => {
                let userns = container.record.borrow().userns;
                archive::inside(process, userns, work, tell).map_err(failed)?;
                tokio::select! {
                    biased;
                    result = done => result.unwrap_or_else(|error| Err(io::Error::other(error))),
                    // The thread may be held by a stream that nobody writes or reads, or by a file system of the
                    // container's own: neither holds us.
                    () = exec::hangup(client) => given_up("its client has gone"),
                    _ = end.readable() => given_up("the container has ended"),
                }
            }
            Place::AtRest(place, _gate) => {
                archive::at_rest(*place, work, tell).map_err(failed)?;
                let why = tokio::select! {
                    biased;
                    result = &mut done => Ok(result.unwrap_or_else(|error| Err(io::Error::other(error)))),
                    () = exec::hangup(client) => Err("its client has gone"),
                    _ = asked.changed() => Err("the container is about to be started or removed"),
                };
                let result = match why {
                    Ok(result) => result,
                    Err(why) => {
                        drop(going_on);
                        // Whoever is next mounts the same folders: not before they are free.
                        let _ = done.await;
                        given_up(why)
                    }
                };
                self.release_volumes(&container).await;
                result
            }
        };
        let left_out = result.map_err(failed)?;
        let warning = format!("devices are not copied: {}", left_out.join(", "));
        let subject = Subject::Container { name, service: container.record.borrow().service.name.clone() };
        let event = Event { time: clock::now(), subject, action: Action::Warning(warning) };
        Ok((!left_out.is_empty()).then_some(Reply::Event(event)))
    }

    async fn place_of<'a>(&self, container: &'a Rc<Container>, way: &Way) -> Result<Place<'a>, Failure> {
        let name = container.name();
        let service = container.record.borrow().service.clone();
        if matches!(way, Way::Whole) && service.rootfs == Rootfs::Host {
            return Err(Failure {
                help: Some("`compose cp` takes files out of it".to_owned()),
                ..operations::failure(format!(
                    "export: {name}: it stands on the host's own programs (`x-rootfs: host`), which are no root \
                     filesystem of its own"
                ))
            });
        }
        if let Some(running) = running(container)? {
            return Ok(running);
        }
        let gate = container.gate.lock().await;
        // Whoever had it before may have started or removed it.
        if let Some(running) = running(container)? {
            return Ok(running);
        }
        if !self.container(&name).is_some_and(|known| Rc::ptr_eq(&known, container)) {
            return Err(operations::failure(format!("no such container: {name}")));
        }
        match self.at_rest(container, &service, way).await {
            Ok(place) => Ok(Place::AtRest(Box::new(place), gate)),
            Err(error) => {
                self.release_volumes(container).await;
                Err(Failure::from(&error))
            }
        }
    }

    async fn at_rest(
        &self,
        container: &Container,
        service: &Service,
        way: &Way,
    ) -> Result<AtRest, StartError> {
        let mounts = match way {
            Way::Whole | Way::Layer { .. } => Vec::new(),
            Way::Out { .. } | Way::In { .. } | Way::Remove { .. } => {
                self.bring_volumes(container, service).await?;
                self.volume_mounts(container, service)?
            }
        };
        Ok(AtRest { root: self.root(container, service)?, read_only: service.read_only, mounts })
    }
}

fn running(container: &Container) -> Result<Option<Place<'static>>, Failure> {
    let live = container.live.borrow();
    let Some(live) = &*live else { return Ok(None) };
    let opened =
        live.pidfd.try_clone().and_then(|end| Ok((live.pidfd.try_clone()?, asyncfd::readable(end)?)));
    let opened = opened.map(|(process, end)| Some(Place::Running(process, end)));
    opened.map_err(|error| operations::failure(format!("copy: {}: {error}", container.name())))
}

/// A stream that ends when nobody waits for it any more, which it learns by `stop`.
pub struct Stream {
    file: File,
    stop: OwnedFd,
}

impl Stream {
    pub fn new(fd: Option<OwnedFd>, stop: OwnedFd) -> io::Result<Self> {
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
        // It is read where it is written, by somebody else.
        Way::Layer { .. } => Ok(Vec::new()),
        Way::Whole => {
            let stream = BufWriter::with_capacity(BUFFER, Stream::new(stream, stop)?);
            archive::export(stream).map(|()| Vec::new())
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
