//! Waits for the end of a request and shows how it goes.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{Reply, Subject};
use rustix::event::PollFlags;

use super::context::Context;
use super::{Error, Result, wait};
use crate::render::{FRAME, Progress};

/// Shows events until the request is done; the names of the containers that something happened to. The plan of a
/// dry run is printed.
pub fn receive(client: &Client, progress: &mut Progress, context: &mut Context) -> Result<BTreeSet<String>> {
    let mut touched = BTreeSet::new();
    loop {
        // The clock of the drawing runs while nothing happens.
        while progress.is_animated()
            && !wait::any(&[(client.as_fd(), PollFlags::IN)], Some(FRAME))?.contains(&true)
        {
            progress.tick();
        }
        let Some((reply, _)) = client.next()? else { continue };
        match reply {
            Reply::Event(event) => {
                progress.event(&event, &mut context.out);
                if let Subject::Container { name, .. } = event.subject {
                    touched.insert(name);
                }
            }
            Reply::Plan(plan) => {
                let end = if plan.ends_with('\n') { "" } else { "\n" };
                context.out.data(format!("{plan}{end}").as_bytes()).map_err(Error::Output)?;
            }
            Reply::Done => return Ok(touched),
            Reply::Failed(failure) => return Err(Error::Refused(failure)),
            Reply::Containers(_) | Reply::Attached(_) | Reply::Executing { .. } | Reply::Exited { .. } => {}
        }
    }
}
