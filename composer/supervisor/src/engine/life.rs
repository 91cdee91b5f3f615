//! A container's life as one pure function: `step(state, event, now) → (state, actions)`.

use std::time::{Duration, Instant};

/// A PID 1 that has run for this long has installed the handlers it is going to install.
pub const SETTLED: Duration = Duration::from_secs(1);

/// Where a running program is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nobody has asked it to end.
    Running {
        /// When its program was exec'd.
        since: Instant,
    },
    /// It has been sent its stop signal.
    Stopping {
        /// When its program was exec'd.
        since: Instant,
        /// When it is killed.
        deadline: Instant,
        /// When it is looked at whether it hears its stop signal at all; `None` where it is given all its time.
        inspection: Option<Instant>,
    },
    /// It has been sent SIGKILL.
    Killed,
}

/// What happens to a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is asked to end within `grace`; `patient` where the file or the user has set that time.
    Stop {
        /// After which it is killed.
        grace: Duration,
        /// Whether it is waited for even if it does not hear its signal.
        patient: bool,
    },
    /// Time has passed.
    Tick,
    /// The answer to [`Action::Inspect`].
    Inspected {
        /// It neither handles nor awaits its stop signal.
        deaf: bool,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the stop signal.
    Signal,
    /// See whether the program handles or awaits its stop signal, and come back with the answer.
    Inspect,
    /// Send SIGKILL.
    Kill,
}

/// The next state and what is to be done.
pub fn step(life: Life, event: Event, now: Instant) -> (Life, Vec<Action>) {
    match (life, event) {
        (Life::Running { since }, Event::Stop { grace, patient }) => {
            let inspection = (!patient).then(|| (since + SETTLED).max(now));
            let next = Life::Stopping { since, deadline: now + grace, inspection };
            let mut actions = vec![Action::Signal];
            actions.extend(due(next, now));
            (next, actions)
        }
        // Asked again, with less time: the shorter one holds.
        (Life::Stopping { since, deadline, inspection }, Event::Stop { grace, .. }) => {
            (Life::Stopping { since, deadline: deadline.min(now + grace), inspection }, Vec::new())
        }
        (Life::Stopping { deadline, .. }, Event::Tick) if now >= deadline => {
            (Life::Killed, vec![Action::Kill])
        }
        (Life::Stopping { .. }, Event::Tick) => (life, due(life, now)),
        (Life::Stopping { .. }, Event::Inspected { deaf: true }) => (Life::Killed, vec![Action::Kill]),
        (Life::Stopping { since, deadline, .. }, Event::Inspected { deaf: false }) => {
            (Life::Stopping { since, deadline, inspection: None }, Vec::new())
        }
        (Life::Running { .. }, Event::Tick | Event::Inspected { .. }) | (Life::Killed, _) => {
            (life, Vec::new())
        }
    }
}

fn due(life: Life, now: Instant) -> Vec<Action> {
    match life {
        Life::Stopping { inspection: Some(at), .. } if now >= at => vec![Action::Inspect],
        Life::Running { .. } | Life::Stopping { .. } | Life::Killed => Vec::new(),
    }
}

/// When time next matters.
pub fn wake(life: Life) -> Option<Instant> {
    match life {
        Life::Stopping { deadline, inspection, .. } => {
            Some(inspection.map_or(deadline, |at| at.min(deadline)))
        }
        Life::Running { .. } | Life::Killed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[test]
    fn a_deaf_program_is_killed_at_once_when_it_has_settled() {
        let born = Instant::now();
        let now = born + SETTLED;
        let (life, actions) =
            step(Life::Running { since: born }, Event::Stop { grace: GRACE, patient: false }, now);
        assert_eq!(actions, [Action::Signal, Action::Inspect]);
        assert_eq!(step(life, Event::Inspected { deaf: true }, now), (Life::Killed, vec![Action::Kill]));
    }

    #[test]
    fn a_young_program_is_inspected_when_it_has_settled() {
        let born = Instant::now();
        let (life, actions) =
            step(Life::Running { since: born }, Event::Stop { grace: GRACE, patient: false }, born);
        assert_eq!(actions, [Action::Signal]);
        assert_eq!(wake(life), Some(born + SETTLED));
        assert_eq!(step(life, Event::Tick, born + SETTLED).1, [Action::Inspect]);
    }

    #[test]
    fn a_program_that_listens_has_its_grace_period() {
        let born = Instant::now();
        let now = born + SETTLED;
        let (life, _) =
            step(Life::Running { since: born }, Event::Stop { grace: GRACE, patient: false }, now);
        let (life, actions) = step(life, Event::Inspected { deaf: false }, now);
        assert!(actions.is_empty());
        assert_eq!(wake(life), Some(now + GRACE));
        assert_eq!(step(life, Event::Tick, now + GRACE), (Life::Killed, vec![Action::Kill]));
    }

    #[test]
    fn a_grace_period_from_the_file_is_kept_in_any_case() {
        let born = Instant::now();
        let now = born + SETTLED;
        let (life, actions) =
            step(Life::Running { since: born }, Event::Stop { grace: GRACE, patient: true }, now);
        assert_eq!(actions, [Action::Signal]);
        assert_eq!(wake(life), Some(now + GRACE));
    }
}
