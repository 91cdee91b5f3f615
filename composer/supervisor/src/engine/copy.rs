//! Files into and out of a running container.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use composer_sandbox::archive;
use tokio::sync::oneshot;

use super::{Engine, operations};
use crate::protocol::{Copy, Failure, Reply, Way};

impl Engine {
    /// Copies, on a thread of its own; what was left out is answered as a warning.
    pub(super) async fn copy(&self, request: Copy, fds: Vec<OwnedFd>) -> Result<Option<Reply>, Failure> {
        let Copy { container: name, path, way } = request;
        let failed = |error: io::Error| operations::failure(format!("copy: {name}: {error}"));
        let container = self.container(&name);
        let container = container.ok_or_else(|| operations::failure(format!("no such container: {name}")))?;
        let process = match &*container.live.borrow() {
            Some(live) => live.pidfd.try_clone().map_err(failed)?,
            None => {
                return Err(operations::failure(format!(
                    "container {name} is not running: its files are there only while it is; start it first"
                )));
            }
        };
        let (sender, done) = oneshot::channel();
        archive::inside(
            process,
            move || copy(&path, way, fds.into_iter().next()),
            // Fails where nobody waits any more.
            |result| drop(sender.send(result)),
        )
        .map_err(failed)?;
        let left_out = done.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)?;
        match left_out.as_slice() {
            [] => Ok(None),
            paths => {
                Err(operations::failure(format!("copied, but for what cannot be: {}", paths.join(", "))))
            }
        }
    }
}

fn copy(path: &str, way: Way, stream: Option<OwnedFd>) -> io::Result<Vec<String>> {
    let stream = || stream.map(fs::File::from).ok_or_else(|| io::Error::other("no stream came along"));
    match way {
        Way::Out { name, follow } => {
            archive::pack(Path::new(path), &name, follow, io::BufWriter::new(stream()?)).map(|()| Vec::new())
        }
        Way::In { rule, owner } => {
            let mut stream = io::BufReader::new(stream()?);
            let left_out = archive::unpack(path, &rule, owner, &mut stream)?;
            // What follows the end of the archive: whoever writes it is not to be stopped in the middle.
            io::copy(&mut stream, &mut io::sink())?;
            Ok(left_out)
        }
        Way::Remove => {
            let path = Path::new(path);
            let removed = match fs::symlink_metadata(path) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(path),
                Ok(_) => fs::remove_file(path),
                Err(error) => Err(error),
            };
            match removed {
                // A file in the place of a folder above it has taken it along.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    Ok(Vec::new())
                }
                Err(error) => {
                    Err(io::Error::new(error.kind(), format!("remove {}: {error}", path.display())))
                }
                Ok(()) => Ok(Vec::new()),
            }
        }
    }
}
