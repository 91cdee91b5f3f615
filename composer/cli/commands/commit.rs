//! `compose commit`: an image of what a container has made of its own.

use std::fs::File;
use std::io::{self, Read};

use composer_supervisor::client::Client;
use composer_supervisor::host::images::{self, Change};
use composer_supervisor::protocol::Way;
use rustix::pipe::{PipeFlags, pipe_with};

use super::context::Context;
use super::{Error, Result, copy, doing};
use crate::options::Commit;
use crate::time;

/// Commits.
pub fn run(context: &mut Context, verb: &Commit) -> Result {
    let stack = context.project()?;
    let changes: Vec<Change> = verb
        .change
        .iter()
        .map(|line| Change::parse(line))
        .collect::<std::result::Result<_, _>>()
        .map_err(Error::Usage)?;
    let reference = verb.name.as_deref().map(images::new_name).transpose().map_err(Error::Usage)?;
    let container = copy::targets(&stack, &verb.service, verb.index, true)?.swap_remove(0).name;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(doing("make a pipe"))?;
    let client = copy::ask(&stack, &container, "/", Way::Layer { pause: verb.pause }, &write)?;
    drop(write);
    let said = images::Commit {
        reference,
        author: verb.author.clone(),
        comment: verb.message.clone(),
        created: time::rfc3339(time::now()),
    };
    let mut layer = Layer { file: File::from(read), client, end: None };
    let made = images::commit(&stack, &container, &mut layer, &said, &changes);
    if let Some(Err(error)) = layer.end {
        return Err(error);
    }
    let id = made?.id;
    context.out.note(&format!(" {container} commit {container} Committed as {id}"));
    Ok(0)
}

/// The layer as it comes. It is whole where the other side says so at its end, else it fails.
struct Layer {
    file: File,
    client: Client,
    end: Option<Result<()>>,
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.end.is_none() {
            self.end = Some(copy::answered(&self.client).map(drop));
        }
        match &self.end {
            Some(Err(_)) => Err(io::Error::other("the container's side has failed")),
            Some(Ok(())) | None => Ok(read),
        }
    }
}
