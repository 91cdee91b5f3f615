//! `compose rm`.

use composer_supervisor::protocol::{self, Request, State};

use super::context::{self, Context};
use super::{Error, Result, agreed, work};
use crate::options::Remove;

/// Removes containers that do not run.
pub fn run(context: &mut Context, verb: Remove) -> Result {
    let stack = context.project()?;
    let Some(services) = context.present(&stack, &verb.services)? else {
        if verb.dry_run {
            return work::idle(context, &stack, "rm", true);
        }
        context.out.note("No stopped containers");
        return Ok(0);
    };
    if verb.dry_run {
        let request = Request::Remove(protocol::Remove {
            services,
            stop: verb.stop,
            volumes: verb.volumes,
            dry_run: true,
            ..Default::default()
        });
        return work::ask(context, &stack, "rm", &request);
    }
    if verb.stop {
        let request = Request::Stop(protocol::Stop { services: services.clone(), ..Default::default() });
        work::ask(context, &stack, "stop", &request)?;
    }
    let stopped = context::containers(&stack)?.into_iter().filter(|container| {
        let wanted = services.is_empty() || services.contains(&container.service);
        wanted
            && match container.state {
                State::Created | State::Exited => true,
                State::Running | State::Restarting | State::Pausing | State::Paused => false,
            }
    });
    let names: Vec<String> = stopped.map(|container| container.name).collect();
    if names.is_empty() {
        context.out.note("No stopped containers");
        return Ok(0);
    }
    let what = format!("Going to remove {}", names.join(", "));
    if verb.force {
        context.out.line(&what).map_err(Error::Output)?;
        context.out.flush().map_err(Error::Output)?;
    } else if !agreed(context, &what)? {
        return Ok(0);
    }
    let request =
        Request::Remove(protocol::Remove { containers: names, volumes: verb.volumes, ..Default::default() });
    work::ask(context, &stack, "rm", &request)
}
