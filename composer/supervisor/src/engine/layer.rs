//! What a container has changed of its image, as a layer: for `commit`.

use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use composer_sandbox::archive;
use composer_stack::Rootfs;
use nix::fcntl::OFlag;
use tokio::io::unix::AsyncFd;

use super::Engine;
use super::container::Container;
use super::copy::{BUFFER, Stream};
use super::exec;
use super::operations::failure;
use crate::host;
use crate::protocol::Failure;

impl Engine {
    /// Writes the layer. A program that runs is held meanwhile where `pause` says so; one that does not run is not started.
    pub(super) async fn layer(
        &self,
        container: &Rc<Container>,
        pause: bool,
        stream: Option<OwnedFd>,
        client: &AsyncFd<OwnedFd>,
    ) -> Result<(), Failure> {
        let name = container.name();
        if !matches!(container.record.borrow().service.rootfs, Rootfs::Image(_)) {
            return Err(failure(host::Error::StandsOnNone { container: name }.to_string()));
        }
        let failed = |error: io::Error| failure(format!("commit: {name}: {error}"));
        let mut asked = container.asked();
        let is_live = container.live.borrow().is_some();
        let gate = if is_live { None } else { Some(container.gate.lock().await) };
        let holds = pause && is_live && !*container.paused.borrow();
        if holds {
            self.pause(container).await.map_err(failure)?;
        }
        let (stop, going_on) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let upper = container.paths.upper();
        let mut work = tokio::task::spawn_blocking(move || {
            // One that has never been started has none.
            std::fs::create_dir_all(&upper)?;
            archive::layer(&upper, BufWriter::with_capacity(BUFFER, Stream::new(stream, stop)?))
        });
        let done = tokio::select! {
            biased;
            done = &mut work => done.unwrap_or_else(|error| Err(io::Error::other(error))),
            () = exec::hangup(client) => Err(io::Error::other("its client has gone")),
            _ = asked.changed(), if gate.is_some() => {
                Err(io::Error::other("the container is about to be started or removed"))
            }
        };
        drop(going_on);
        if !work.is_finished() {
            let _ = work.await;
        }
        if holds {
            self.unpause(container).map_err(failure)?;
        }
        done.map_err(failed)
    }
}
