//! `compose up`.

use std::collections::BTreeSet;
use std::time::Duration;

use composer_stack::{Purpose, Stack};
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Action, Event, Request, State, Subject};

use super::context::{self, Context};
use super::session::{self, Abort, View};
use super::{Error, Result, work};
use crate::options::Up;
use crate::render::LineStyle;
use crate::time;

/// Brings a stack up, in the background or with its logs in sight.
pub fn run(context: &mut Context, verb: Up) -> Result {
    let loaded = context.load(Purpose::Run, |options| options.enabled.clone_from(&verb.services))?;
    let stack = loaded.stack;
    let named = verb.services.iter().chain(&verb.attach).chain(&verb.no_attach).chain(&verb.exit_code_from);
    for service in named {
        if !stack.services.contains_key(service) {
            return Err(Error::Usage(format!("no such service: {service}")));
        }
    }
    let request = protocol::Up {
        stack: stack.clone(),
        services: verb.services.clone(),
        dry_run: verb.dry_run,
        wait: verb.wait,
        wait_timeout: verb.wait_timeout.map(Duration::from_secs),
        timeout: verb.timeout.map(Duration::from_secs),
        path: context.caller.path.clone(),
    };
    if verb.detach || verb.wait || verb.dry_run {
        return detached(context, &stack, request);
    }
    let view = View {
        attach: attached(&verb, &stack),
        abort: match (&verb.exit_code_from, verb.abort_on_container_exit, verb.abort_on_container_failure) {
            (None, false, false) => Abort::Never,
            (None, false, true) => Abort::Failure,
            (Some(_), ..) | (None, true, _) => Abort::Exit,
        },
        exit_code_from: verb.exit_code_from,
        style: LineStyle {
            color: context.out.color && !verb.no_color,
            prefix: !verb.no_log_prefix,
            timestamps: verb.timestamps,
        },
    };
    session::run(context, &stack, request, view)
}

/// `up -d` with nothing said but the services.
pub fn in_background(context: &mut Context, stack: &Stack, services: Vec<String>) -> Result {
    let request = protocol::Up {
        stack: stack.clone(),
        services,
        dry_run: false,
        wait: false,
        wait_timeout: None,
        timeout: None,
        path: context.caller.path.clone(),
    };
    detached(context, stack, request)
}

fn detached(context: &mut Context, stack: &Stack, request: protocol::Up) -> Result {
    let (services, dry_run) = (request.services.clone(), request.dry_run);
    let client = Client::find_or_start(&stack.name)?;
    client.send(&Request::Up(Box::new(request)), &[])?;
    let mut progress = context.progress(&stack.name, "up", true);
    let touched = work::receive(&client, &mut progress, context);
    if touched.is_ok() && !dry_run {
        let touched = touched.as_ref().ok();
        for event in unchanged(&stack.name, &services, touched)? {
            progress.event(&event, &mut context.out);
        }
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
    let time = time::now();
    let event = |container: protocol::ContainerStatus| {
        let subject = Subject::Container { name: container.name, service: container.service };
        Event { time, subject, action: Action::Running }
    };
    Ok(containers.map(event).collect())
}

/// Services whose logs are shown: those of `--attach`, else those named, else all, without those that do not want to
/// be or are not to be.
fn attached(verb: &Up, stack: &Stack) -> BTreeSet<String> {
    let all: Vec<&String> = stack.services.keys().collect();
    let chosen: Vec<&String> = match (verb.attach.is_empty(), verb.services.is_empty()) {
        (false, _) => verb.attach.iter().collect(),
        (true, false) => verb.services.iter().collect(),
        (true, true) => all,
    };
    let wanted = |service: &&String| {
        let willing = stack.services.get(*service).is_some_and(|service| service.attach);
        (willing || verb.attach.contains(service)) && !verb.no_attach.contains(service)
    };
    chosen.into_iter().filter(wanted).cloned().collect()
}
