//! Work on images that takes a while: told of as it goes on, ended by Ctrl-C with nothing half-made.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use composer_stack::{Loaded, Purpose, known_services};
use composer_supervisor::host;
use composer_supervisor::host::images::{self, Error as ImageError, Event, Looked, Pull, Push, Stop, Stored};
use nix::sys::signal::Signal;
use rustix::event::PollFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use super::context::Context;
use super::signals::Signals;
use super::{Error, Result, doing, wait};
use crate::render::{FRAME, Pulls, Step};

/// What has become of each image, in their order.
pub type Brought = Vec<std::result::Result<Stored, ImageError>>;

/// Tells a step of an image, from any thread.
pub type Tell<'a> = dyn Fn(&str, Event<'_>) + Sync + 'a;

/// Does `work` on a thread of its own and shows how it gets on. `None` when somebody wants it no more: what it was making
/// is gone then.
pub fn watch<T: Send + 'static>(
    context: &mut Context,
    pulls: &mut Pulls,
    work: impl FnOnce(&Stop, &Tell<'_>) -> T + Send + 'static,
) -> Result<Option<T>> {
    // Before there is another thread, which would be ended by them otherwise.
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM])?;
    // It is readable when there is news, and closed when the work has ended in whatever way.
    let (news, told) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(doing("make a pipe"))?;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let stop = Stop::default();
    let worker = {
        let (steps, stop) = (Arc::clone(&steps), stop.clone());
        std::thread::spawn(move || {
            work(&stop, &|image, event| {
                let new = (image.to_owned(), step(event));
                steps.lock().unwrap_or_else(PoisonError::into_inner).push(new);
                // A pipe that is full says already that there is news.
                let _ = rustix::io::write(&told, &[0]);
            })
        })
    };
    loop {
        let limit = pulls.is_animated().then_some(FRAME);
        let ready = wait::any(&[(signals.as_fd(), PollFlags::IN), (news.as_fd(), PollFlags::IN)], limit)?;
        if ready[0] && signals.next()?.is_some() {
            // A second one ends us wherever we are.
            signals.pause()?;
            stop.stop();
            pulls.finish();
            return Ok(None);
        }
        let mut is_over = false;
        if ready[1] {
            is_over = rustix::io::read(&news, &mut [0; 1 << 12]).is_ok_and(|count| count == 0);
        }
        let new: Vec<(String, Step)> =
            std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner));
        new.iter().for_each(|(image, step)| pulls.step(image, step, &mut context.out));
        if is_over {
            return Ok(Some(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))));
        }
        pulls.tick();
    }
}

/// Pulls images and shows how they get on.
pub fn pull(
    context: &mut Context,
    progress: &mut Pulls,
    pulls: Vec<Pull>,
    folder: PathBuf,
) -> Result<Brought> {
    let registries = context.registries()?;
    let names: Vec<String> = pulls.iter().map(|pull| pull.reference.clone()).collect();
    names.iter().for_each(|name| progress.step(name, &Step::Asked, &mut context.out));
    let of_place = names.clone();
    let outcome = watch(context, progress, move |stop, tell| {
        images::pull(&pulls, &folder, registries, stop, &|place, event| tell(&of_place[place], event))
    })?;
    let Some(outcome) = outcome else { return Err(Error::Interrupted) };
    // What was found, or refused before anybody was asked, has not been told of.
    for (name, result) in names.iter().zip(outcome.iter().flatten()) {
        let step = match result {
            Ok(_) => Step::Skipped("Image is already present locally".to_owned()),
            Err(error) => Step::Failed(error.to_string()),
        };
        progress.conclude(name, &step, &mut context.out);
    }
    progress.finish();
    Ok(outcome?)
}

/// Brings what a stack lacks and shows how it gets on.
pub fn bring(context: &mut Context, progress: &mut Pulls, looked: Looked) -> Result<(Looked, Brought)> {
    let names = looked.missing();
    names.iter().for_each(|name| progress.step(name, &Step::Asked, &mut context.out));
    let outcome = watch(context, progress, move |stop, tell| {
        looked.bring(stop, &|place, event| tell(&names[place], event))
    })?;
    progress.finish();
    outcome.ok_or(Error::Interrupted)
}

/// Pushes images and shows how they get on: the digest of each one's manifest.
pub fn push(
    context: &mut Context,
    progress: &mut Pulls,
    pushes: Vec<Push>,
) -> Result<Vec<std::result::Result<String, ImageError>>> {
    let registries = context.registries()?;
    let names: Vec<String> = pushes.iter().map(|push| push.reference.clone()).collect();
    names.iter().for_each(|name| progress.step(name, &Step::Asked, &mut context.out));
    let of_place = names.clone();
    let outcome = watch(context, progress, move |stop, tell| {
        images::push(&pushes, registries, stop, &|place, event| tell(&of_place[place], event))
    })?;
    let Some(outcome) = outcome else { return Err(Error::Interrupted) };
    for (name, result) in names.iter().zip(outcome.iter().flatten()) {
        if let Err(error) = result {
            progress.conclude(name, &Step::Failed(error.to_string()), &mut context.out);
        }
    }
    progress.finish();
    Ok(outcome?)
}

/// The files, and the services of them whose images are meant: all where none is named.
pub fn chosen(context: &mut Context, named: &[String], with_deps: bool) -> Result<(Loaded, Vec<String>)> {
    let loaded = context.load_with(Purpose::Config, |options| options.enabled = named.to_vec())?;
    let names = loaded.names("services");
    if let Some(unknown) = named.iter().find(|service| !names.contains(service)) {
        let known = known_services("the file", unknown, names.iter().map(String::as_str));
        return Err(Error::Usage(format!("no such service: {unknown}{known}")));
    }
    let services = if with_deps { loaded.with_dependencies(named) } else { named.to_vec() };
    Ok((loaded, services))
}

/// Tells of all failures, and with which status the command ends.
pub fn end(context: &mut Context, failures: Vec<ImageError>) -> u8 {
    let codes = failures.into_iter().map(|error| context.tell(&Error::Host(host::Error::Image(error))));
    codes.fold(0, u8::max)
}

fn step(event: Event<'_>) -> Step {
    match event {
        Event::Resolved { layers, .. } => {
            let known = layers.iter().map(|(digest, size, here)| (digest.short().to_owned(), *size, *here));
            Step::Layers(known.collect())
        }
        Event::Waiting { layer } => Step::Waiting(layer.short().to_owned()),
        Event::Advanced { layer, bytes } => Step::Advanced(layer.short().to_owned(), bytes),
        Event::Retrying { layer, reason } => Step::Retrying(layer.short().to_owned(), reason.to_owned()),
        Event::Done { layer } => Step::Done(layer.short().to_owned()),
        Event::Pulled | Event::Pushed => Step::Pulled,
        Event::Failed { error } => Step::Failed(error.to_string()),
    }
}
