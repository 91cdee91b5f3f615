//! `pre_start`: steps that run to their end, one after the other, before a service is started for the first time.
//!
//! Each runs in a container of its own that is made as the service's is, on its mounts, its address and its cgroup,
//! which are free as long as the service does not run; only its root filesystem is another, and goes with it. What it
//! prints goes to the log of the container that it prepares.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use composer_sandbox::{ContainerSpec, RootSpec, pidfd, project};
use composer_stack::{ImageUse, PreStart, Service};
use nix::fcntl::OFlag;

use super::container::{Container, Status};
use super::execute::{Order, StepError};
use super::hooks::{self, Lines};
use super::link::{Born, Refusal};
use super::start::{Launch, StartError};
use super::{Engine, asyncfd, inside, removal, spec};
use crate::logs::Writer;
use crate::protocol::Action;

/// What the tags of steps begin with.
pub const STEP: &str = "pre_start";

impl Engine {
    /// Runs the steps that this container has to wait for. Those of the service run once, for its first container: when
    /// that has been made anew they run again.
    pub(super) async fn prepare(
        self: &Rc<Self>,
        container: &Rc<Container>,
        order: &Order,
    ) -> Result<(), StepError> {
        let is_prepared = |container: &Container| container.record.borrow().prepared;
        let hash_of = |container: &Container| container.record.borrow().config_hash.clone();
        let (service, steps, hash) = {
            let record = container.record.borrow();
            (record.service.name.clone(), record.service.pre_start.clone(), record.config_hash.clone())
        };
        if steps.is_empty() || is_prepared(container) {
            return Ok(());
        }
        let turn = Rc::clone(self.preparing.borrow_mut().entry(service.clone()).or_default());
        let mut ahead = tokio::select! {
            turn = turn.lock() => turn,
            () = order.given_up() => return Err(StepError::Interrupted),
        };
        self.announce_container(container, Action::Waiting);
        let replicas = self.of_services(&[service]);
        let first = replicas.iter().min_by_key(|replica| replica.record.borrow().index);
        let first = first.filter(|first| !Rc::ptr_eq(first, container));
        let is_done = match first {
            None => ahead.take().as_ref() == Some(&hash),
            // One of another configuration is about to be replaced.
            Some(first) => ahead.as_ref() == Some(&hash) || is_prepared(first) && hash_of(first) == hash,
        };
        self.steps(container, &steps, |step| step.per_replica || !is_done, order).await?;
        if first.is_some() && !is_done {
            *ahead = Some(hash);
        }
        Ok(prepared_now(container)?)
    }

    async fn steps(
        self: &Rc<Self>,
        container: &Rc<Container>,
        steps: &[PreStart],
        is_due: impl Fn(&PreStart) -> bool,
        order: &Order,
    ) -> Result<(), StepError> {
        for (number, step) in steps.iter().enumerate().filter(|(_, step)| is_due(step)) {
            // What a supervisor that was killed in the middle of a step has left is found by name.
            self.release(container).await;
            container.standing.set(true);
            let done = self.step(container, number, step, order).await;
            self.release(container).await;
            if let Err(StepError::Hook { why, .. }) = &done {
                let reason = Some(why.clone());
                // The failure itself is what the user must see; the record only repeats it.
                let _ = container.change(|record| record.phase = crate::records::Phase::Created { reason });
                container.status.send_replace(Status::Created);
                self.announce_container(container, Action::Failed(why.clone()));
            }
            done?;
        }
        Ok(())
    }

    async fn step(
        self: &Rc<Self>,
        container: &Rc<Container>,
        number: usize,
        step: &PreStart,
        order: &Order,
    ) -> Result<(), StepError> {
        let name = container.name();
        let program = step.hook.command.first().map_or("", String::as_str);
        let what = format!("pre_start step {} `{program}` of {name}", number + 1);
        let failed = |error: io::Error| StartError::new(format!("{what}: {error}"));
        let folder = container.paths.pre_start();
        remade(&folder).await.map_err(failed)?;
        let ended = self.step_ended(container, (number, step), &folder, order).await;
        // A step's own files go with it; what cannot be removed is removed with the container.
        let _ = removal::remove(&folder).await;
        let hook = |why: String| StepError::Hook { container: Rc::clone(container), why };
        match ended {
            Ok(Some(code)) => hooks::verdict(&what, code).map_err(hook),
            Ok(None) => Err(StepError::Interrupted),
            Err(error) => Err(hook(format!("{what}: {}", error.message))),
        }
    }

    /// The code that a step has ended with, where anybody knows it; `None` where it was not let come so far.
    async fn step_ended(
        self: &Rc<Self>,
        container: &Rc<Container>,
        step: (usize, &PreStart),
        folder: &Path,
        order: &Order,
    ) -> Result<Option<Option<i32>>, StartError> {
        let keep = container.record.borrow().service.logging;
        let log = Writer::open_for_run(container.paths.log(), keep)
            .map_err(|error| StartError::doing("open its log", &error))?;
        let mut lines = Lines::new(Rc::new(RefCell::new(log)), STEP);
        let mut print = |text: &[u8]| lines.take(text);
        let (Born { pid, pidfd, mut end }, output) = self.launch_step(container, step, folder).await?;
        let ended = tokio::select! {
            end = &mut end => Some(end.ok().and_then(|end| end.code)),
            never = inside::swallow(&output, &mut print) => match never {},
            () = order.given_up() => {
                let _ = pidfd::signal(pidfd.as_fd(), libc::SIGKILL);
                let _ = end.await;
                None
            }
        };
        self.link.acknowledge(pid);
        inside::rest(&output, &mut print);
        Ok(ended)
    }

    /// Clones the step's container; with what it prints.
    async fn launch_step(
        self: &Rc<Self>,
        container: &Rc<Container>,
        (number, step): (usize, &PreStart),
        folder: &Path,
    ) -> Result<(Born, inside::Output), StartError> {
        let text = |error: io::Error| StartError::new(error.to_string());
        let service = container.record.borrow().service.clone();
        self.bring_volumes(container, &service).await?;
        let (output, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| text(errno.into()))?;
        let launch = || -> Result<Launch, StartError> {
            let mut launch = self.launch_for(container)?;
            launch.tag = format!("{STEP}/{}", container.name());
            launch.is_service = false;
            launch.spec.process.terminal = false;
            if let Some(image) = &step.image {
                self.in_image(&mut launch, &service, number, image)?;
            }
            hooks::apply(&mut launch.spec.process, &step.hook);
            launch.spec.process.confinement.privileged |= step.hook.privileged;
            elsewhere(&mut launch.spec, folder);
            project::follow(&container.paths.upper(), &folder.join("upper")).map_err(text)?;
            Ok(launch)
        };
        let null = || -> io::Result<_> { Ok(fs::File::open("/dev/null")?.into()) };
        let stdio = || -> io::Result<_> { Ok([null()?, ours.try_clone()?, ours.try_clone()?]) };
        let first = self.launch(container, launch()?, stdio().map_err(text)?, [&output, &output]).await;
        let (born, _) = match first {
            Err(error) if error.message == Refusal::Gone.to_string() => {
                self.release(container).await;
                self.launch(container, launch()?, stdio().map_err(text)?, [&output, &output]).await?
            }
            other => other?,
        };
        drop(ours);
        Ok((born, asyncfd::readable(output).map_err(text)?))
    }

    /// Has a step run in an image of its own. What that says of the program is the step's already, so nothing of the
    /// service's is left.
    fn in_image(
        &self,
        launch: &mut Launch,
        service: &Service,
        number: usize,
        image: &ImageUse,
    ) -> Result<(), StartError> {
        let at = ["pre_start".to_owned(), number.to_string(), "image".to_owned()];
        let layers = match image {
            ImageUse::Found(image) => spec::layers(service, image, &at)?,
            ImageUse::Source(image) => return Err(spec::not_here(service, &image.reference, &at)),
        };
        let base = self.base()?;
        let (RootSpec::Layers { upper, work, .. } | RootSpec::Host { upper, work, .. }) =
            launch.spec.root.clone();
        launch.spec.root = RootSpec::Layers { layers, base, upper, work };
        let process = &mut launch.spec.process;
        (process.user, process.cwd) = (None, None);
        process.env.retain(|(name, _)| name == "HOSTNAME");
        Ok(())
    }
}

/// Its root filesystem is written elsewhere than its service's.
fn elsewhere(spec: &mut ContainerSpec, folder: &Path) {
    match &mut spec.root {
        RootSpec::Layers { upper, work, .. } | RootSpec::Host { upper, work, .. } => {
            *upper = folder.join("upper");
            *work = folder.join("work");
        }
    }
}

async fn remade(folder: &Path) -> io::Result<()> {
    removal::remove(folder).await?;
    fs::create_dir_all(folder.join("upper"))
}

fn prepared_now(container: &Container) -> Result<(), StartError> {
    let recorded = container.change(|record| record.prepared = true);
    recorded.map_err(|error| StartError::doing(&format!("write the record of {}", container.name()), &error))
}
