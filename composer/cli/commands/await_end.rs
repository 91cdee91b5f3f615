//! `compose wait`: blocks until containers have ended.

use std::collections::BTreeMap;

use composer_supervisor::client::{self, Client};
use composer_supervisor::protocol::{Action, ContainerStatus, Outcome, Reply, State, Subject};

use super::context::Context;
use super::watching::Listed;
use super::{Error, Result, down, watching};
use crate::options::{Down, Wait};

/// Waits for every container of the services, tells each end, and returns the status of the last to end. One that has
/// ended before counts too, so that whoever comes late is told the truth.
pub fn run(context: &mut Context, verb: &Wait) -> Result {
    let stack = context.project()?;
    // Every end that is not in this list is told from here on.
    let (watch, Listed { time: heard, containers }) =
        watching::watch(&stack)?.map(|(watch, listed)| (Some(watch), listed)).unwrap_or_default();
    context.check_services(&verb.services, &containers)?;
    let wanted = |container: &&ContainerStatus| verb.services.contains(&container.service);
    let mut ended: Vec<&ContainerStatus> =
        containers.iter().filter(wanted).filter(|container| container.finished.is_some()).collect();
    ended.retain(|container| !container.state.is_live());
    ended.sort_by_key(|container| container.finished);
    let mut waiting: BTreeMap<String, ContainerStatus> = containers
        .iter()
        .filter(wanted)
        .filter(|container| container.state.is_live())
        .map(|container| (container.name.clone(), container.clone()))
        .collect();
    if ended.is_empty() && waiting.is_empty() {
        return Err(Error::Usage(format!(
            "no container of {} has been started in project {stack:?}: there is nothing to wait for",
            verb.services.join(", ")
        )));
    }
    let mut code = 0;
    for container in ended {
        let starved = container.reason.as_deref().filter(|_| container.out_of_memory);
        code = tell(&container.id, container.exit_code, starved, context)?;
    }
    if let Some(watch) = watch
        && !waiting.is_empty()
    {
        code = follow(&stack, (watch, heard), &mut waiting, context)?;
    }
    if verb.down_project {
        let all = Down {
            services: Vec::new(),
            remove_orphans: true,
            timeout: None,
            volumes: false,
            rmi: None,
            dry_run: false,
        };
        down::run(context, all)?;
    }
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Until none is left: the code of the last.
fn follow(
    stack: &str,
    (mut watch, mut heard): (Client, u64),
    waiting: &mut BTreeMap<String, ContainerStatus>,
    context: &mut Context,
) -> Result<i32> {
    let mut code = 0;
    // Why they are about to end, of those that have been killed for want of memory.
    let mut starved = BTreeMap::new();
    while !waiting.is_empty() {
        let events = match watch.receive() {
            Ok((Reply::Event(event), _)) => vec![event],
            Ok(_) => Vec::new(),
            // The supervisor has died; what runs has not noticed.
            Err(client::Error::Gone(_)) => {
                let Some((again, listed)) = watching::watch(stack)? else {
                    return Err(Error::Usage(format!("project {stack:?} is gone")));
                };
                watch = again;
                let services = waiting.values().map(|one| (one.name.clone(), one.service.clone())).collect();
                let is_restarting = |one: &&ContainerStatus| one.state == State::Restarting;
                let restarting = waiting.values().filter(is_restarting).map(|one| one.name.clone()).collect();
                watching::missed(listed, heard, &services, &restarting)
            }
            Err(error) => return Err(error.into()),
        };
        for event in events {
            heard = event.time;
            // Containers of `run` are waited for too, as in Docker Compose.
            let (Subject::Container { name, .. } | Subject::OneOff { name, .. }) = event.subject else {
                continue;
            };
            let ended = match event.action {
                Action::OutOfMemory(told) if told.outcome == Outcome::Killed => {
                    starved.insert(name, told.text);
                    continue;
                }
                // As in Docker, an end is an end, whatever its policy makes of it.
                Action::Exited { code } | Action::Restarting { code, .. } => code,
                // One that was waiting for its restart when we came.
                Action::Stopped => waiting.get(&name).and_then(|container| container.exit_code),
                Action::Removed => None,
                _ => continue,
            };
            if let Some(container) = waiting.remove(&name) {
                let starved = starved.remove(&name).filter(|_| ended != Some(0));
                code = tell(&container.id, ended, starved.as_deref(), context)?;
            }
        }
    }
    Ok(code)
}

/// Says how a container has ended, as Docker Compose does, and why, where that was want of memory; its code.
fn tell(id: &str, code: Option<i32>, starved: Option<&str>, context: &mut Context) -> Result<i32> {
    // One that nobody knows is no success.
    let code = code.unwrap_or(255);
    let line = format!("container {id:?} exited with status code {code}");
    context.out.line(&line).and_then(|()| context.out.flush()).map_err(Error::Output)?;
    starved.iter().for_each(|why| context.out.note(why));
    Ok(code)
}
