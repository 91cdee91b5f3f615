//! What is heard of a stack: which containers it has at one moment, and every event from that moment on.

use std::collections::{BTreeMap, BTreeSet};

use composer_supervisor::client::{self, Client};
use composer_supervisor::protocol::{
    Action, ContainerStatus, Event, Outcome, Reply, Request, Shortage, State, Subject,
};

use super::{Error, Result};

/// The containers of a stack at one moment. What they had written by then is in their logs, and nothing later is of an
/// earlier time.
#[derive(Default)]
pub struct Listed {
    /// By the supervisor's clock.
    pub time: u64,
    /// In the order of their names.
    pub containers: Vec<ContainerStatus>,
}

impl Listed {
    /// The same in the order of their names.
    pub fn new(time: u64, mut containers: Vec<ContainerStatus>) -> Self {
        containers.sort_by(|a, b| (&a.service, a.index, &a.name).cmp(&(&b.service, b.index, &b.name)));
        Self { time, containers }
    }
}

/// A connection that tells of events; none where nothing is known of the stack.
pub fn watch(stack: &str) -> Result<Option<(Client, Listed)>> {
    while let Some(client) = Client::find(stack)? {
        if let Some(listed) = begin(&client)? {
            return Ok(Some((client, listed)));
        }
    }
    Ok(None)
}

/// The same of a stack that is about to be made.
pub fn watch_or_start(stack: &str) -> Result<(Client, Listed)> {
    loop {
        let client = Client::find_or_start(stack)?;
        if let Some(listed) = begin(&client)? {
            return Ok((client, listed));
        }
    }
}

/// `None` where the supervisor has died before it could answer: the next one is to be asked.
fn begin(client: &Client) -> Result<Option<Listed>> {
    client.send(&Request::Watch, &[])?;
    loop {
        match client.receive() {
            Ok((Reply::Containers { time, containers }, _)) => {
                return Ok(Some(Listed::new(time, containers)));
            }
            Ok((Reply::Failed(failure), _)) => return Err(Error::Refused(failure)),
            Ok(_) => {}
            Err(client::Error::Gone(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What whoever watched a supervisor that has died has missed since it heard of it last, at `since`. `running` are the
/// containers that ran, with their services, `restarting` those of them that had ended and waited for their restart.
///
/// All of it is of the moment of the list, and not of an earlier one: what a program that has ended left in its pipes
/// is saved by the next supervisor, before it answers.
pub fn missed(
    listed: Listed,
    since: u64,
    running: &BTreeMap<String, String>,
    restarting: &BTreeSet<String>,
) -> Vec<Event> {
    let Listed { time, containers } = listed;
    let mut lost = running.clone();
    let mut events = Vec::new();
    for container in containers {
        // One that was made anew: the one that ran is gone.
        if container.state == State::Created {
            continue;
        }
        let ran = lost.remove(&container.name).is_some();
        let waited = restarting.contains(&container.name);
        // Where it has not run again, its end has been told.
        let is_told = waited && container.started.is_none_or(|started| started <= since);
        let action = match container.state {
            State::Exited if is_told => Action::Stopped,
            State::Exited if ran => Action::Exited { code: container.exit_code },
            State::Running | State::Pausing | State::Paused if !ran || waited => {
                Action::Started { address: container.address }
            }
            State::Restarting if !is_told => {
                Action::Restarting { code: container.exit_code, restarts: container.restarts + 1, at: time }
            }
            State::Created
            | State::Running
            | State::Pausing
            | State::Paused
            | State::Restarting
            | State::Exited => continue,
        };
        let starved = container.reason.filter(|_| container.out_of_memory);
        let (name, service) = (container.name, container.service);
        let subject = match container.oneoff {
            true => Subject::OneOff { name, service },
            false => Subject::Container { name, service },
        };
        // Before the end, as a supervisor that lives tells it.
        if let (Some(text), Action::Exited { .. } | Action::Restarting { .. }) = (starved, &action) {
            let told = Shortage { outcome: Outcome::Killed, text };
            events.push(Event { time, subject: subject.clone(), action: Action::OutOfMemory(told) });
        }
        events.push(Event { time, subject, action });
    }
    let removed = |(name, service)| Event {
        time,
        subject: Subject::Container { name, service },
        action: Action::Removed,
    };
    events.extend(lost.into_iter().map(removed));
    events
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(name: &str, state: &str, started: u64) -> ContainerStatus {
        let status = json!({
            "id": "0123", "name": name, "service": "job", "index": 1, "rootfs": "host", "argv": [], "labels": {},
            "mounts": [], "local_volumes": 0, "state": state, "health": null, "exit_code": 7, "reason": null,
            "restarts": 0, "pid": null, "address": null, "networks": [], "created": 1, "started": started,
            "finished": null, "attach": true, "oneoff": false, "log": "/log", "keeps_log": true
        });
        serde_json::from_value(status).unwrap()
    }

    /// What is told of one container that ran when it was last heard of, at 10; `waited` for its restart or not.
    fn told(containers: Vec<ContainerStatus>, waited: bool) -> Vec<Action> {
        let running = BTreeMap::from([("one".to_owned(), "job".to_owned())]);
        let restarting = running.keys().filter(|_| waited).cloned().collect();
        let events = missed(Listed { time: 20, containers }, 10, &running, &restarting);
        assert!(events.iter().all(|event| event.time == 20), "{events:?}");
        events.into_iter().map(|event| event.action).collect()
    }

    #[test]
    fn an_end_is_told_of_the_moment_of_the_list() {
        assert_eq!(told(vec![container("one", "exited", 5)], false), [Action::Exited { code: Some(7) }]);
        let again = Action::Restarting { code: Some(7), restarts: 1, at: 20 };
        assert_eq!(told(vec![container("one", "restarting", 5)], false), [again]);
        assert_eq!(told(vec![container("one", "running", 5)], false), []);
        assert_eq!(told(Vec::new(), false), [Action::Removed]);
        let two = vec![container("one", "running", 5), container("two", "running", 15)];
        assert_eq!(told(two, false), [Action::Started { address: None }]);
    }

    #[test]
    fn a_death_by_memory_is_named_before_the_end() {
        let text = "job was killed: its limit of 40 MiB was reached".to_owned();
        let one = ContainerStatus {
            out_of_memory: true,
            reason: Some(text.clone()),
            ..container("one", "exited", 5)
        };
        let why = Action::OutOfMemory(Shortage { outcome: Outcome::Killed, text });
        assert_eq!(told(vec![one], false), [why, Action::Exited { code: Some(7) }]);
    }

    #[test]
    fn an_end_that_is_known_is_told_again_only_where_it_is_another() {
        assert_eq!(told(vec![container("one", "restarting", 5)], true), []);
        assert_eq!(told(vec![container("one", "exited", 5)], true), [Action::Stopped]);
        assert_eq!(told(vec![container("one", "running", 15)], true), [Action::Started { address: None }]);
        assert_eq!(told(vec![container("one", "exited", 15)], true), [Action::Exited { code: Some(7) }]);
        let again = Action::Restarting { code: Some(7), restarts: 1, at: 20 };
        assert_eq!(told(vec![container("one", "restarting", 15)], true), [again]);
    }
}
