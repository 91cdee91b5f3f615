//! `compose export`: a container's root filesystem as a tar archive.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use composer_supervisor::protocol::Way;
use rustix::pipe::{PipeFlags, pipe_with};

use super::context::Context;
use super::{Error, Result, copy, doing};
use crate::options::Export;

/// Exports.
pub fn run(context: &mut Context, verb: &Export) -> Result {
    let stack = context.project()?;
    let Some(output) = &verb.output else {
        if io::stdout().is_terminal() {
            let text =
                "an archive is nothing to show on a terminal: name a file with `-o FILE`, or pipe it on";
            return Err(Error::Usage(text.to_owned()));
        }
        exported(&stack, verb, |mut read| io::copy(&mut read, &mut io::stdout().lock()).map(drop))?;
        return Ok(0);
    };
    // A device or a pipe is written to as it is.
    if output.exists() && !output.is_file() {
        let mut file = File::options().write(true).open(output).map_err(doing(opening(output)))?;
        exported(&stack, verb, |mut read| io::copy(&mut read, &mut file).map(drop))?;
        return Ok(0);
    }
    // A file that is there is whole: the old one or the new one.
    let aside = aside(output);
    let mut file = File::create(&aside).map_err(doing(opening(output)))?;
    let written = exported(&stack, verb, |mut read| io::copy(&mut read, &mut file).map(drop));
    let moved = written.and_then(|()| fs::rename(&aside, output).map_err(doing(opening(output))));
    if moved.is_err() {
        let _ = fs::remove_file(&aside);
    }
    moved.map(|()| 0)
}

/// Asks for the archive, and lets it flow.
fn exported(stack: &str, verb: &Export, flow: impl FnOnce(File) -> io::Result<()>) -> Result<()> {
    let container = copy::targets(stack, &verb.service, verb.index, true)?.swap_remove(0).name;
    let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC).map_err(doing("make a pipe"))?;
    let client = copy::ask(stack, &container, "/", Way::Whole, &write)?;
    drop(write);
    let flown = flow(File::from(read));
    // Where the container's side has failed, that is the reason for what fails here.
    match (copy::answered(&client), flown) {
        // Of a stream that is not read any more, what has stopped the reading says more.
        (_, Err(error)) => Err(Error::Io(format!("export {container}"), error)),
        (answer, Ok(())) => answer.map(drop),
    }
}

fn opening(output: &Path) -> String {
    format!("write {}", output.display())
}

/// The file's place until it is whole.
fn aside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    name.into()
}
