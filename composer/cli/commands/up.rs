//! `compose up`.

use std::collections::BTreeSet;
use std::time::Duration;

use composer_plan::UpOptions;
use composer_stack::{Purpose, Stack};
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Action, Event, Request, State, Subject};

use super::bringing::{Bring, needed};
use super::context::{self, Context};
use super::session::{self, Abort, View};
use super::{Error, Result, creating, unit, work};
use crate::options::Up;
use crate::render::LineStyle;
use crate::time;
use crate::watch;

/// Brings a stack up, in the background or with its logs in sight.
pub fn run(context: &mut Context, verb: Up) -> Result {
    conflicts(&verb)?;
    creating::check(&verb.creation, &verb.renewal)?;
    let scales = creating::scales("--scale option", &verb.creation.scale)?;
    let mut loaded = context.load(Purpose::Run, |options| options.enabled.clone_from(&verb.services))?;
    creating::scale(&mut loaded.stack, &scales)?;
    let options = creating::options(context, &loaded, &verb.services, &verb.creation, &verb.renewal)?;
    let mut stack = loaded.stack;
    if let Some(service) = verb.attach.iter().find(|service| !stack.services.contains_key(*service)) {
        return Err(Error::Usage(format!("cannot attach to services not included in up: {service}")));
    }
    let named = verb.no_attach.iter().chain(&verb.exit_code_from);
    creating::known(&stack, &named.cloned().collect::<Vec<_>>())?;
    context.bring(
        &mut stack,
        creating::images(&verb.services, &verb.creation, verb.renewal.no_deps, verb.dry_run),
    )?;
    let request = protocol::Up {
        wait: verb.wait && !verb.renewal.no_start,
        wait_timeout: verb.wait_timeout.map(Duration::from_secs),
        timeout: verb.timeout.map(Duration::from_secs),
        ..request(context, stack.clone(), options, verb.dry_run)
    };
    if verb.renewal.watch {
        watch::check(&stack, &verb.services).map_err(Error::Usage)?;
    }
    if verb.detach || verb.wait || verb.dry_run || verb.renewal.no_start {
        let code = detached(context, "up", request)?;
        if !verb.dry_run && !verb.renewal.no_start {
            unit::note(context, &stack);
        }
        return Ok(code);
    }
    let view = View {
        attach: attached(&verb, &stack),
        abort: match (&verb.exit_code_from, verb.abort_on_container_exit, verb.abort_on_container_failure) {
            (None, false, false) => Abort::Never,
            (_, false, true) => Abort::Failure,
            (Some(_), ..) | (None, true, _) => Abort::Exit,
        },
        exit_code_from: verb.exit_code_from,
        style: LineStyle {
            color: context.out.color && !verb.no_color,
            prefix: !verb.no_log_prefix,
            timestamps: verb.timestamps,
        },
        sources: verb.renewal.watch,
    };
    session::run(context, &stack, request, view)
}

/// What is asked of the supervisor, in the background and without waiting for readiness.
pub fn request(context: &Context, stack: Stack, options: UpOptions, dry_run: bool) -> protocol::Up {
    let path = context.caller.path.clone();
    protocol::Up {
        stack,
        options,
        dry_run,
        wait: false,
        wait_timeout: None,
        timeout: None,
        path,
        boot: false,
    }
}

/// Flags of an attached `up` that make no sense together, or in the background. Told here, as Docker Compose's status
/// for it is 1 and clap's is 2.
fn conflicts(verb: &Up) -> Result<()> {
    let attached = [
        ("--abort-on-container-exit", verb.abort_on_container_exit),
        ("--abort-on-container-failure", verb.abort_on_container_failure),
        ("--exit-code-from", verb.exit_code_from.is_some()),
        ("--attach", !verb.attach.is_empty()),
        ("--attach-dependencies", verb.attach_dependencies),
        ("--watch", verb.renewal.watch),
    ];
    let background = [("--detach", verb.detach), ("--wait", verb.wait)];
    let given =
        |flags: &[(&'static str, bool)]| flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
    if let (Some(background), Some(attached)) = (given(&background), given(&attached)) {
        return Err(Error::Usage(format!(
            "{background} cannot be combined with {attached}: it returns while the containers run on; leave one of them out"
        )));
    }
    let pairs = [
        (
            verb.abort_on_container_exit && verb.abort_on_container_failure,
            "--abort-on-container-failure cannot be combined with --abort-on-container-exit, which stops all at every end",
        ),
        (
            !verb.attach.is_empty() && verb.attach_dependencies,
            "--attach cannot be combined with --attach-dependencies: name all services with --attach",
        ),
    ];
    match pairs.into_iter().find(|(both, _)| *both) {
        Some((_, why)) => Err(Error::Usage(why.to_owned())),
        None => Ok(()),
    }
}

/// `up -d` with nothing said but the services.
pub fn in_background(context: &mut Context, stack: &Stack, services: Vec<String>) -> Result {
    let mut stack = stack.clone();
    context.bring(&mut stack, Bring { services: &services, ..Bring::default() })?;
    let options = UpOptions { services, ..UpOptions::default() };
    let request = request(context, stack, options, false);
    detached(context, "up", request)
}

/// Asks the supervisor and shows how it goes, under a title.
pub fn detached(context: &mut Context, title: &'static str, request: protocol::Up) -> Result {
    let stack = request.stack.name.clone();
    let (services, dry_run) = (request.options.services.clone(), request.dry_run);
    let client = Client::find_or_start(&stack)?;
    client.send(&Request::Up(Box::new(request)), &[])?;
    let mut progress = context.progress(&stack, title, true);
    let touched = work::receive(&client, &mut progress, context);
    context.let_go();
    if touched.is_ok() && !dry_run {
        let touched = touched.as_ref().ok();
        for event in unchanged(&stack, &services, touched)? {
            progress.event(&event, &mut context.out);
        }
        progress.idle(&mut context.out);
    }
    progress.finish();
    touched.map(|_| 0)
}

/// Containers that were running and up to date: nothing happened to them, and the user sees so.
fn unchanged(stack: &str, services: &[String], touched: Option<&BTreeSet<String>>) -> Result<Vec<Event>> {
    let containers = context::containers(stack)?.into_iter().filter(|container| {
        let wanted = services.is_empty() || services.contains(&container.service);
        let was_touched = touched.is_some_and(|touched| touched.contains(&container.name));
        wanted && !was_touched && container.state == State::Running
    });
    Ok(containers.map(|container| running(container.name, container.service)).collect())
}

/// What is told of a container to which nothing happened.
pub fn running(name: String, service: String) -> Event {
    Event { time: time::now(), subject: Subject::Container { name, service }, action: Action::Running }
}

/// Services whose logs are shown: those of `--attach`, else those named, else all, without those that do not want to
/// be or are not to be.
fn attached(verb: &Up, stack: &Stack) -> BTreeSet<String> {
    let all: Vec<&String> = stack.services.keys().collect();
    let chosen: Vec<&String> = match (verb.attach.is_empty(), verb.services.is_empty()) {
        (false, _) => verb.attach.iter().collect(),
        (true, false) if verb.attach_dependencies => needed(&verb.services, stack),
        (true, false) => verb.services.iter().collect(),
        (true, true) => all,
    };
    let wanted = |service: &&String| {
        let willing = stack.services.get(*service).is_some_and(|service| service.attach);
        (willing || verb.attach.contains(service)) && !verb.no_attach.contains(service)
    };
    chosen.into_iter().filter(wanted).cloned().collect()
}
