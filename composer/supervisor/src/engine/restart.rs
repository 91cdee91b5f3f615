//! Whether and when a container that has ended is started again, as one pure function: [`after`].

use std::time::Duration;

use composer_stack::{Restart, RestartPolicy};

use crate::records::{Due, Halt, History};

/// The first pause; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Pauses do not grow beyond this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A program that has lived for this long has been started with success.
const WINDOW: Duration = Duration::from_secs(10);

/// How a program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its code; `None` where nobody knows it, which is no success.
    pub code: Option<i32>,
    /// For how long it has run.
    pub lived: Duration,
    /// When it ended: nanoseconds since the Unix epoch.
    pub at: u64,
}

/// The history of a container after an end: with [`History::due`] where it is started again.
pub fn after(ending: Ending, policy: &Restart, history: History, boot: &str) -> History {
    let settled = ending.lived >= policy.window.unwrap_or(WINDOW);
    let failures = if settled { 0 } else { history.failures };
    let wanted = history.halt.is_none()
        && match policy.policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure => ending.code != Some(0),
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        };
    if !wanted || policy.max_attempts.is_some_and(|most| failures >= most) {
        return History { failures, due: None, ..history };
    }
    let pause = u64::try_from(pause(policy, failures).as_nanos()).unwrap_or(u64::MAX);
    let due = Due { at: ending.at.saturating_add(pause), boot: boot.to_owned() };
    History { failures: failures + 1, due: Some(due), ..history }
}

/// How long the next start waits after so many that failed.
pub fn pause(policy: &Restart, failures: u32) -> Duration {
    policy.delay.unwrap_or_else(|| {
        let doubled = 2_u32.checked_pow(failures).and_then(|times| FIRST_PAUSE.checked_mul(times));
        doubled.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
    })
}

/// How long to wait for a start that is due: never longer than the pause itself, whatever became of the clock.
pub fn remaining(policy: &Restart, history: &History, now: u64) -> Option<Duration> {
    let due = history.due.as_ref()?;
    let longest = pause(policy, history.failures.saturating_sub(1));
    Some(Duration::from_nanos(due.at.saturating_sub(now)).min(longest))
}

/// Whether a boot brings a container back.
pub fn at_boot(policy: &Restart, history: &History) -> bool {
    policy.policy != RestartPolicy::UnlessStopped || history.halt != Some(Halt::User)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "b";
    const SECOND: u64 = 1_000_000_000;

    fn policy(policy: RestartPolicy) -> Restart {
        Restart { policy, ..Restart::default() }
    }

    fn crash(policy: &Restart, history: History) -> History {
        after(Ending { code: Some(1), lived: Duration::from_millis(5), at: SECOND }, policy, history, BOOT)
    }

    fn end(policy: &Restart, code: Option<i32>) -> bool {
        let ending = Ending { code, lived: Duration::ZERO, at: 0 };
        after(ending, policy, History::default(), BOOT).due.is_some()
    }

    #[test]
    fn which_ends_are_followed_by_a_start() {
        for (word, codes) in [
            (RestartPolicy::No, [false, false, false]),
            (RestartPolicy::OnFailure, [false, true, true]),
            (RestartPolicy::Always, [true, true, true]),
            (RestartPolicy::UnlessStopped, [true, true, true]),
        ] {
            for (code, again) in [Some(0), Some(137), None].into_iter().zip(codes) {
                assert_eq!(end(&policy(word), code), again, "{word:?} {code:?}");
            }
        }
    }

    #[test]
    fn whoever_is_stopped_stays_stopped() {
        for halt in [Halt::User, Halt::Shutdown] {
            let history = History { halt: Some(halt), ..History::default() };
            assert_eq!(crash(&policy(RestartPolicy::Always), history).due, None);
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_ten_seconds_of_life() {
        let policy = policy(RestartPolicy::Always);
        let mut history = History::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            history = crash(&policy, history);
            pauses.push((history.due.as_ref().unwrap().at - SECOND) / 1_000_000);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(pause(&policy, u32::MAX), LONGEST_PAUSE);
        let lived = |seconds| Ending { code: Some(1), lived: Duration::from_secs(seconds), at: SECOND };
        let next = |seconds, history: &History| {
            after(lived(seconds), &policy, history.clone(), BOOT).due.unwrap().at - SECOND
        };
        assert_eq!(next(10, &history), 100_000_000);
        assert_eq!(next(9, &history), 60 * SECOND);
    }

    #[test]
    fn attempts_are_counted_since_the_last_success() {
        let window = Some(Duration::from_secs(3));
        let policy = Restart { max_attempts: Some(2), window, ..policy(RestartPolicy::OnFailure) };
        let mut history = History::default();
        history = crash(&policy, history);
        history = crash(&policy, history);
        assert!(history.due.is_some());
        assert_eq!(crash(&policy, history.clone()).due, None);
        let later = Ending { code: Some(1), lived: Duration::from_secs(3), at: 0 };
        assert_eq!(after(later, &policy, history, BOOT).failures, 1);
    }

    #[test]
    fn a_delay_of_the_file_stands_in_place_of_the_back_off() {
        let policy = Restart { delay: Some(Duration::from_secs(7)), ..policy(RestartPolicy::Always) };
        let history = crash(&policy, crash(&policy, History::default()));
        assert_eq!(history.due.as_ref().unwrap().at, 8 * SECOND);
        assert_eq!(remaining(&policy, &history, 5 * SECOND), Some(Duration::from_secs(3)));
        assert_eq!(remaining(&policy, &history, 9 * SECOND), Some(Duration::ZERO));
        // A clock that was set back.
        assert_eq!(remaining(&policy, &history, 0), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_boot_leaves_out_what_a_user_had_stopped() {
        let by = |halt| History { halt, ..History::default() };
        let unless = policy(RestartPolicy::UnlessStopped);
        assert!(!at_boot(&unless, &by(Some(Halt::User))));
        assert!(at_boot(&unless, &by(Some(Halt::Shutdown))));
        assert!(at_boot(&unless, &by(None)));
        assert!(at_boot(&policy(RestartPolicy::Always), &by(Some(Halt::User))));
    }
}
