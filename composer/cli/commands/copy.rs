//! `compose cp`: files between the host and containers.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::{Arc, OnceLock};
use std::thread;

use composer_supervisor::archive::{self, Owner, Rule};
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Action, ContainerStatus, Event, Reply, Request, Way};
use rustix::pipe::{PipeFlags, pipe_with};

use super::context::{self, Context};
use super::{Error, Result, doing, work};
use crate::options::{Copy, Place};

/// Copies.
pub fn run(context: &mut Context, verb: Copy) -> Result {
    let stack = context.project()?;
    match (verb.source.clone(), verb.destination.clone()) {
        (Place::Service(service, path), to @ (Place::Host(_) | Place::Stream)) => {
            out_of(context, &stack, &verb, &service, &path, &to)
        }
        (from @ (Place::Host(_) | Place::Stream), Place::Service(service, path)) => {
            into(context, &stack, &verb, &from, &service, &path)
        }
        (Place::Service(..), Place::Service(..)) => {
            Err(Error::Usage("copying between services is not supported: copy to the host first".to_owned()))
        }
        (Place::Host(_) | Place::Stream, Place::Host(_) | Place::Stream) => {
            Err(Error::Usage("one side of a copy is a service's container: `SERVICE:PATH`".to_owned()))
        }
    }
}

fn out_of(context: &mut Context, stack: &str, verb: &Copy, service: &str, path: &str, to: &Place) -> Result {
    let container = targets(stack, service, verb.index, verb.all)?.swap_remove(0).name;
    let inside = absolute(path);
    let name = base(&inside, &container);
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(doing("make a pipe"))?;
    let way = Way::Out { name: name.clone(), follow: verb.follow_link };
    let client = ask(stack, &container, &inside, way, &write)?;
    drop(write);
    let written = match to {
        Place::Stream => io::copy(&mut File::from(read), &mut io::stdout().lock()).map(|_| Vec::new()),
        Place::Host(target) => {
            let rule = Rule::Copy { name, contents: is_contents(path) };
            let owner = if verb.archive { Owner::Kept } else { caller() };
            archive::unpack(target, &rule, owner, io::BufReader::new(File::from(read)))
        }
        Place::Service(..) => return Ok(1),
    };
    // Where the container's side has failed, that is the reason for what fails here.
    answered(&client)?;
    let left_out = written.map_err(doing(format!("copy {path} of {container}")))?;
    if let Place::Host(target) = to {
        context.out.note(&format!(" {container} copy {container}:{path} to {target} Copied"));
    }
    if !left_out.is_empty() {
        context.out.warning(&format!("devices are not copied: {}", left_out.join(", ")));
    }
    Ok(0)
}

fn into(context: &mut Context, stack: &str, verb: &Copy, from: &Place, service: &str, path: &str) -> Result {
    let containers = targets(stack, service, verb.index, verb.all)?;
    let owner = if verb.archive { Owner::Kept } else { Owner::Set(0, 0) };
    for ContainerStatus { name: container, .. } in containers {
        let inside = absolute(path);
        match from {
            Place::Stream => {
                let way = Way::In { rule: Rule::Extract, owner };
                let warnings = stream_in(stack, &container, &inside, way)?;
                warnings.iter().for_each(|warning| context.out.warning(warning));
                // It can be read once.
                return Ok(0);
            }
            Place::Host(source) => {
                let source_path = Path::new(source);
                let full = std::path::absolute(source_path).map_err(doing(format!("find {source}")))?;
                let name = base(&full.to_string_lossy(), "root");
                let rule = Rule::Copy { name: name.clone(), contents: is_contents(source) };
                let way = Way::In { rule, owner };
                let follow = verb.follow_link;
                let warnings = send(stack, &container, &inside, way, source_path, &name, follow)?;
                context.out.note(&format!(" {container} copy {source} to {container}:{path} Copied"));
                warnings.iter().for_each(|warning| context.out.warning(warning));
            }
            Place::Service(..) => return Ok(1),
        }
    }
    Ok(0)
}

/// Lets standard input flow into a container; what the container's side warns of. It goes through a pipe of our own,
/// so that nobody but us reads a terminal, and the pipe ends with us.
fn stream_in(stack: &str, container: &str, inside: &str, way: Way) -> Result<Vec<String>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(doing("make a pipe"))?;
    let client = ask(stack, container, inside, way, &read)?;
    drop(read);
    let unread = Arc::new(OnceLock::new());
    let told = Arc::clone(&unread);
    let pump = move || {
        let mut pipe = File::from(write);
        let pumped = io::copy(&mut io::stdin().lock(), &mut pipe);
        if let Err(error) = pumped
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            // Told before the pipe is closed, which the other side takes for the end of the archive.
            let _ = told.set(error);
        }
    };
    // Ends with our input, with the other side's interest in it, or with this process: nobody waits for it.
    let thread = thread::Builder::new().name("stdin".to_owned());
    thread.spawn(pump).map_err(doing("read standard input"))?;
    let answer = answered(&client);
    match unread.get() {
        Some(error) => Err(Error::Usage(format!("read standard input: {error}"))),
        None => answer,
    }
}

/// Packs a file or folder of the host and sends it into a container; what the container's side warns of.
pub fn send(
    stack: &str,
    container: &str,
    inside: &str,
    way: Way,
    source: &Path,
    name: &str,
    follow: bool,
) -> Result<Vec<String>> {
    // Before anything is made in the container.
    std::fs::symlink_metadata(source).map_err(doing(format!("read {}", source.display())))?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(doing("make a pipe"))?;
    let client = ask(stack, container, inside, way, &read)?;
    drop(read);
    let packed = thread::scope(|scope| {
        // Beside it, since the other side may give up long before the end.
        let packing =
            scope.spawn(|| archive::pack(source, name, follow, io::BufWriter::new(File::from(write))));
        let answer = answered(&client);
        (packing.join().unwrap_or_else(|_| Err(io::Error::other("packing it ended early"))), answer)
    });
    match packed {
        // Of a pipe that is closed, the other side's answer says more.
        (Err(error), _) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io(format!("copy {}", source.display()), error))
        }
        (_, answer) => answer,
    }
}

/// Sends the request with its stream.
pub(super) fn ask(stack: &str, container: &str, path: &str, way: Way, stream: &OwnedFd) -> Result<Client> {
    let client = Client::find(stack)?;
    let client = client.ok_or_else(|| Error::Usage(format!("no such container: {container}")))?;
    let request = protocol::Copy { container: container.to_owned(), path: path.to_owned(), way };
    client.send(&Request::Copy(request), &[stream.as_fd()])?;
    Ok(client)
}

/// Waits for the answer, and gathers the warnings before it.
pub(super) fn answered(client: &Client) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    work::until_done(client, |reply| {
        if let Reply::Event(Event { action: Action::Warning(text), .. }) = reply {
            warnings.push(text);
        }
    })?;
    Ok(warnings)
}

/// The containers that are meant: at least one.
pub(super) fn targets(
    stack: &str,
    service: &str,
    index: Option<u32>,
    oneoffs: bool,
) -> Result<Vec<ContainerStatus>> {
    let mut found = context::containers(stack)?;
    found.retain(|container| container.service == service && (oneoffs || !container.oneoff));
    if let Some(index) = index {
        let known: Vec<String> = found.iter().map(|container| container.index.to_string()).collect();
        found.retain(|container| container.index == index);
        if found.is_empty() && !known.is_empty() {
            let known = known.join(", ");
            return Err(Error::Usage(format!(
                "service {service:?} has no container {index}: it has {known}"
            )));
        }
    }
    if found.is_empty() {
        return Err(Error::Usage(format!("no container found for service {service:?}")));
    }
    Ok(found)
}

/// Paths in a container begin at its root.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The last name of a path; `otherwise` where it has none, as `/` has.
fn base(path: &str, otherwise: &str) -> String {
    let mut parts = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    });
    parts.next_back().unwrap_or_else(|| otherwise.to_owned())
}

/// `SOURCE/.` is what is in a folder.
fn is_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// Files of the host are the caller's.
fn caller() -> Owner {
    Owner::Set(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}
