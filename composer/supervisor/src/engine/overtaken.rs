//! What later commands have undone: the times at which commands of each purpose were asked, by service, are on disk.

use std::collections::BTreeMap;

use composer_stack::Service;
use serde::{Deserialize, Serialize};

use super::program;
use crate::protocol::{Purpose, Request};

/// Under which a command is kept that concerns every service.
const ALL: &str = "";

/// When the last commands that have had their turn were asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LastAsked {
    /// Tells a stack from one of the same name that was there before a `down`.
    pub stack: u64,
    /// The boot that the times belong to.
    boot: String,
    times: BTreeMap<Purpose, BTreeMap<String, u64>>,
}

impl LastAsked {
    /// What is left of it in this boot: whoever asked before it asks no more.
    pub fn of_this_boot(mut self) -> Self {
        let boot = program::boot();
        if self.boot != boot {
            self.times.clear();
            self.boot = boot;
        }
        self
    }

    pub fn remember(&mut self, purpose: Purpose, services: &[String], time: u64) {
        let times = self.times.entry(purpose).or_default();
        let all = [ALL.to_owned()];
        if services.is_empty() {
            times.retain(|_, known| *known > time);
        }
        for service in if services.is_empty() { &all } else { services } {
            let known = times.entry(service.clone()).or_default();
            *known = time.max(*known);
        }
    }

    /// Whether a command that was asked after `time` has undone what one with this purpose does to these services.
    pub fn overtook(&self, purpose: Purpose, services: &[String], time: u64) -> bool {
        let concerns = |service: &String| match purpose {
            // One service that is wanted again is no reason to leave half a stack.
            Purpose::Clear => service == ALL,
            _ => services.is_empty() || service == ALL || services.contains(service),
        };
        let later = purpose.yields_to().iter().filter_map(|purpose| self.times.get(purpose)).flatten();
        later.into_iter().any(|(service, asked)| *asked > time && concerns(service))
    }
}

/// The services that a request is about, with those that it starts for them; none where it is about all.
pub(super) fn concerned(request: &Request, known: Option<&BTreeMap<String, Service>>) -> Vec<String> {
    let (mut services, started) = match request {
        Request::Up(up) => (up.options.services.clone(), (!up.options.no_deps).then_some(&up.stack.services)),
        Request::Start(start) => (start.services.clone(), known),
        Request::Run(run) => {
            let own = std::iter::once(&run.service.name).chain(run.service.depends_on.keys());
            (own.cloned().collect(), Some(&run.stack.services))
        }
        Request::Down(down) => (down.services.clone(), None),
        Request::Stop(stop) => (stop.services.clone(), None),
        Request::Restart(restart) => (restart.services.clone(), None),
        Request::Remove(remove) => (remove.services.clone(), None),
        Request::Kill(kill) => (kill.services.clone(), None),
        Request::Pause(pause) => (pause.services.clone(), None),
        Request::Set(set) => (set.services.clone(), None),
        Request::Share(_)
        | Request::Status
        | Request::Watch
        | Request::Exec(_)
        | Request::Attach(_)
        | Request::Copy(_) => (Vec::new(), None),
    };
    let mut next = 0;
    while let (Some(known), Some(service)) = (started, services.get(next)) {
        let needed = known.get(service).into_iter().flat_map(|service| service.depends_on.keys());
        let new: Vec<_> = needed.filter(|name| !services.contains(name)).cloned().collect();
        services.extend(new);
        next += 1;
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Whether a command of a purpose on services, asked at 1, yields to one that was asked at 2.
    fn yields(first: (Purpose, &[&str]), second: (Purpose, &[&str])) -> bool {
        let mut asked = LastAsked::default();
        asked.remember(second.0, &names(second.1), 2);
        assert!(!asked.overtook(first.0, &names(first.1), 2), "nothing later was asked");
        asked.overtook(first.0, &names(first.1), 1)
    }

    #[test]
    fn a_command_yields_to_one_that_undoes_it_for_a_service_of_its_own() {
        use Purpose::{Clear, End, Hold, Make, Release, Remove, Signal, Start};
        for (first, second) in [
            ((Make, &[][..]), (End, &["db"][..])),
            ((Make, &["web", "db"]), (End, &["db"])),
            ((Make, &["web"]), (Clear, &[])),
            ((Start, &["web"]), (End, &[])),
            ((End, &["db"]), (Make, &[])),
            ((End, &[]), (Start, &["db"])),
            ((Clear, &[]), (Make, &[])),
            ((Remove, &["db"]), (Make, &["db"])),
            ((Signal, &["db"]), (Start, &["db"])),
            ((Hold, &["db"]), (Release, &["db"])),
        ] {
            assert!(yields(first, second), "{first:?} {second:?}");
        }
        for (first, second) in [
            ((Make, &[][..]), (Remove, &["old"][..])),
            ((End, &["db"]), (Start, &["web"])),
            ((Make, &["web"]), (End, &["db"])),
            ((Clear, &[]), (Start, &["x"])),
            ((Clear, &[]), (Make, &["x"])),
            ((Make, &[]), (Signal, &[])),
            ((Hold, &["db"]), (Release, &["web"])),
        ] {
            assert!(!yields(first, second), "{first:?} {second:?}");
        }
    }

    #[test]
    fn what_was_asked_of_all_goes_for_what_was_asked_of_one_before() {
        let mut asked = LastAsked::default();
        asked.remember(Purpose::End, &names(&["db"]), 1);
        asked.remember(Purpose::End, &names(&["web"]), 3);
        asked.remember(Purpose::End, &[], 2);
        asked.remember(Purpose::End, &[], 1);
        let left: Vec<_> =
            asked.times[&Purpose::End].iter().map(|(name, time)| (name.as_str(), *time)).collect();
        assert_eq!(left, [("", 2), ("web", 3)]);
    }
}
