//! Why a stack did not come up: which services failed, who waited for them, and what they said last.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_plan::Plan;
use composer_stack::{Condition, Stack};
use tokio::task::JoinSet;

use super::container::{Container, Status, Verdict};
use super::execute::{self, Order, StepError};
use super::operations::failure;
use super::{Engine, pause};
use crate::logs::Reader;
use crate::protocol::{Action, Failure, Health};

/// How long a program without a health check has to stay up before `--wait` takes it for ready.
const STAYS: Duration = Duration::from_millis(250);
/// So many ends in a row within a `--wait` are a failure, though the restart policy would go on.
const ENDS: u32 = 3;
/// How many lines of a log are shown.
const LINES: usize = 20;
/// How much of a line of a log, in characters.
const WIDTH: usize = 400;
/// How many lines of what a probe printed.
const PROBE_LINES: usize = 8;
/// How many services are shown with all of that; the others have a line each.
const SHOWN: usize = 6;

/// When an `up` that waits has waited long enough.
#[derive(Clone, Copy)]
pub struct Late {
    at: Instant,
    limit: Duration,
}

impl Late {
    /// `--wait-timeout`, from now on, where there is any waiting.
    pub fn of(wait: bool, timeout: Option<Duration>) -> Option<Self> {
        let limit = timeout.filter(|_| wait)?;
        Some(Self { at: Instant::now() + limit, limit })
    }
}

/// A container that is waited for.
#[derive(Clone)]
struct Awaited {
    container: Rc<Container>,
    /// How many of its starts in a row had failed when the waiting began.
    before: u32,
}

/// A container that keeps a command from succeeding.
struct Failing {
    container: Rc<Container>,
    why: String,
}

impl Engine {
    /// Runs the plan of an `up`; what waits for a condition gives up when it is late.
    pub(super) async fn execute_until(
        self: &Rc<Self>,
        plan: &Plan,
        order: &Rc<Order>,
        late: Option<Late>,
    ) -> Vec<StepError> {
        let timer = async {
            if let Some(late) = late {
                tokio::time::sleep_until(late.at.into()).await;
                order.cancel.send_replace(true);
            }
            std::future::pending().await
        };
        tokio::select! {
            failures = self.execute(plan, Rc::clone(order)) => failures,
            never = timer => never,
        }
    }

    /// Why not everything of a plan was done; `None` where it was.
    pub(super) fn why_not_up(
        &self,
        failures: &[StepError],
        order: &Order,
        asked: &[String],
        late: Option<Late>,
    ) -> Option<Failure> {
        let mut failing = Vec::new();
        let mut headline = None;
        for failed in failures {
            let (container, why, text) = match failed {
                StepError::Hook { container, why } => (container, why, why.clone()),
                StepError::Unmet { container, why } => {
                    (container, why, format!("dependency failed to start: {why}"))
                }
                StepError::Broken(_) | StepError::Unchanged { .. } | StepError::Interrupted => continue,
            };
            headline.get_or_insert(text);
            // Several may have waited for the same one.
            if !failing.iter().any(|known: &Failing| Rc::ptr_eq(&known.container, container)) {
                failing.push(Failing { container: Rc::clone(container), why: why.clone() });
            }
        }
        let interrupted = failures.iter().any(|failed| matches!(failed, StepError::Interrupted));
        let mut text = match (headline, late.filter(|late| Instant::now() >= late.at)) {
            _ if failures.is_empty() => return None,
            (Some(headline), _) => self.report(headline, &failing, order.stack.as_deref(), asked),
            (None, Some(late)) if interrupted => self.not_in_time(late, &self.of_services(&[])),
            (None, _) if interrupted => "interrupted: what has been started runs on".to_owned(),
            (None, _) => String::new(),
        };
        append_unchanged(&mut text, failures);
        Some(failure(text))
    }

    /// `--wait`: returns once all of these services are ready, or as soon as one never will be.
    pub(super) async fn wait_until_ready(
        self: &Rc<Self>,
        order: &Rc<Order>,
        services: &[String],
        late: Option<Late>,
    ) -> Result<(), Failure> {
        let chosen = |name: &&String| services.is_empty() || services.contains(name);
        let known = order.stack.iter().flat_map(|stack| stack.services.keys());
        let names: Vec<String> = known.filter(chosen).cloned().collect();
        let awaited: Vec<Awaited> = self.of_services(&names).into_iter().map(Awaited::new).collect();
        let decided = self.all_decided(order, &awaited);
        match late {
            None => decided.await?,
            Some(late) => match tokio::time::timeout_at(late.at.into(), decided).await {
                Ok(decided) => decided?,
                Err(_) => {
                    let containers: Vec<_> = awaited.into_iter().map(|awaited| awaited.container).collect();
                    return Err(failure(self.not_in_time(late, &containers)));
                }
            },
        }
        let failing: Vec<Failing> = awaited.iter().filter_map(Awaited::failing).collect();
        match failing.first() {
            None => Ok(()),
            Some(first) => {
                let headline = first.why.clone();
                Err(failure(self.report(headline, &failing, order.stack.as_deref(), services)))
            }
        }
    }

    /// Returns once all are ready, or one never will be.
    async fn all_decided(self: &Rc<Self>, order: &Rc<Order>, awaited: &[Awaited]) -> Result<(), Failure> {
        loop {
            let mut waiting = JoinSet::new();
            for awaited in awaited {
                let (engine, awaited, order) = (Rc::clone(self), awaited.clone(), Rc::clone(order));
                waiting.spawn_local(async move { engine.wait_ready(&awaited, &order).await });
            }
            while let Some(done) = waiting.join_next().await {
                match done {
                    Ok(Some(Verdict::Holds | Verdict::Pending)) => {}
                    Ok(Some(Verdict::Never)) | Err(_) => return Ok(()),
                    Ok(None) => return Err(failure("interrupted while waiting".to_owned())),
                }
            }
            // While the last were waited for, the first may have ended, for good or to be started again.
            if awaited.iter().all(|awaited| awaited.readiness() != Verdict::Pending) {
                return Ok(());
            }
        }
    }

    /// Runs and, with a health check, is healthy; or has completed with status 0. Without a check, it has to stay up
    /// for [`STAYS`]: a program that cannot do its work usually ends at once. `None` where it was not let wait so long.
    async fn wait_ready(&self, awaited: &Awaited, order: &Order) -> Option<Verdict> {
        let Awaited { container, before } = awaited;
        let mut status = container.status.subscribe();
        if awaited.readiness() == Verdict::Pending {
            self.announce_container(container, Action::Waiting);
        }
        let decided = async {
            loop {
                let is_decided = |status: &Status| readiness(container, *before, status) != Verdict::Pending;
                // Fails only when the container itself is gone.
                let _ = status.wait_for(is_decided).await;
                if *status.borrow() != Status::Running(None) {
                    return;
                }
                let age = container.live.borrow().as_ref().map(|live| live.since.elapsed());
                let ends = status.wait_for(|status| *status != Status::Running(None));
                if tokio::time::timeout(STAYS.saturating_sub(age.unwrap_or(STAYS)), ends).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = decided => Some(awaited.readiness()),
            () = order.given_up() => None,
        }
    }

    /// What is said when the time is over: who is not ready, in which state, and why.
    fn not_in_time(&self, late: Late, containers: &[Rc<Container>]) -> String {
        let mut text = format!("not all services were ready within {} s", late.limit.as_secs());
        for container in containers {
            let status = *container.status.borrow();
            let state = match (readiness(container, 0, &status), status) {
                (Verdict::Holds, _) => continue,
                (Verdict::Never, _) => execute::describe(container, status, Condition::Healthy),
                (Verdict::Pending, Status::Running(_)) => {
                    format!("container {} is starting: its health check has not passed", container.name())
                }
                (Verdict::Pending, Status::Restarting(_)) => {
                    execute::describe(container, status, Condition::Healthy)
                }
                (Verdict::Pending, Status::Created | Status::Starting | Status::Exited(_)) => {
                    format!("container {} has not been started", container.name())
                }
            };
            text += &format!("\n  {state}");
            append_probe(&mut text, container, "    ");
        }
        text
    }

    /// The headline, then of each service that fails: who waited for it, its last probe, the end of its log.
    fn report(
        &self,
        headline: String,
        failing: &[Failing],
        stack: Option<&Stack>,
        asked: &[String],
    ) -> String {
        let mut text = headline;
        for (number, Failing { container, why }) in failing.iter().enumerate() {
            if number > 0 {
                text += &format!("\n{why}");
            }
            let service = container.record.borrow().service.name.clone();
            if let Some(chain) = stack.and_then(|stack| chain(stack, &service, asked)) {
                let name = container.name();
                let word =
                    why.strip_prefix(&format!("container {name} ")).map(|word| format!("{service} {word}"));
                text += &format!("\n  {chain}: {}", word.as_deref().unwrap_or(why));
            }
            if number >= SHOWN {
                continue;
            }
            if *container.status.borrow() == Status::Running(Some(Health::Unhealthy)) {
                append_probe(&mut text, container, "  ");
            }
            append_log(&mut text, container);
        }
        text
    }
}

impl Awaited {
    fn new(container: Rc<Container>) -> Self {
        let before = container.record.borrow().history.failures;
        Self { container, before }
    }

    fn readiness(&self) -> Verdict {
        readiness(&self.container, self.before, &self.container.status.borrow())
    }

    /// Why it never will be ready, where it will not.
    fn failing(&self) -> Option<Failing> {
        let status = *self.container.status.borrow();
        if self.readiness() != Verdict::Never {
            return None;
        }
        let again = match self.container.record.borrow().history.restarts {
            0 => String::new(),
            1 => "; it has been restarted once".to_owned(),
            restarts => format!("; it has been restarted {restarts} times"),
        };
        let why = if *self.container.paused.borrow() {
            pause::held_back(&self.container)
        } else {
            execute::describe(&self.container, status, Condition::Healthy)
        };
        Some(Failing { container: Rc::clone(&self.container), why: format!("{why}{again}") })
    }
}

/// Whether what `--wait` waits for holds of a container in this state, which had `before` failures in a row when it
/// was begun to be waited for.
fn readiness(container: &Container, before: u32, status: &Status) -> Verdict {
    match status {
        Status::Restarting(_) => {
            let failures = container.record.borrow().history.failures;
            let ends = failures.checked_sub(before).unwrap_or(failures);
            if ends >= ENDS { Verdict::Never } else { Verdict::Pending }
        }
        Status::Exited(Some(0)) => Verdict::Holds,
        Status::Exited(_) => Verdict::Never,
        // It comes to nothing for as long as it is held.
        Status::Running(_) if *container.paused.borrow() => Verdict::Never,
        Status::Running(_) if container.record.borrow().service.healthcheck.is_none() => Verdict::Holds,
        Status::Created | Status::Starting | Status::Running(_) => status.verdict(Condition::Healthy),
    }
}

/// The shortest way by which something that was asked for needs this service; `None` where it was asked for itself.
/// Where all were asked for, those count that nothing else needs.
fn chain(stack: &Stack, service: &str, asked: &[String]) -> Option<String> {
    let needed_by = |needed: &str| {
        let others = stack.services.values().filter(move |other| other.depends_on.contains_key(needed));
        others.map(|other| other.name.as_str()).collect::<Vec<_>>()
    };
    let is_end = |name: &str| match asked {
        [] => needed_by(name).is_empty(),
        asked => asked.iter().any(|asked| asked == name),
    };
    if is_end(service) {
        return None;
    }
    let mut needs: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([stack.services.get(service)?.name.as_str()]);
    while let Some(name) = queue.pop_front() {
        if is_end(name) {
            let way = std::iter::successors(Some(name), |name| needs.get(name).copied());
            return Some(way.collect::<Vec<_>>().join(" → "));
        }
        for other in needed_by(name) {
            if other != service && !needs.contains_key(other) {
                needs.insert(other, name);
                queue.push_back(other);
            }
        }
    }
    None
}

/// Appends what has stayed as it was.
pub fn append_unchanged(text: &mut String, failures: &[StepError]) {
    for failed in failures {
        if let StepError::Unchanged { why } = failed {
            if !text.is_empty() {
                text.push('\n');
            }
            *text += why;
        }
    }
}

fn append_probe(text: &mut String, container: &Container, indent: &str) {
    let probe = container.last_probe.borrow();
    let lines: Vec<&str> = probe.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.as_slice() {
        [] => {}
        [line] => *text += &format!("\n{indent}its last probe: {}", cut(line)),
        lines => {
            *text += &format!("\n{indent}its last probe:");
            for line in lines.iter().take(PROBE_LINES) {
                *text += &format!("\n{indent}  {}", cut(line));
            }
        }
    }
}

fn append_log(text: &mut String, container: &Container) {
    let ended = container.live.borrow().is_none();
    let last = Reader::open(container.paths.log()).and_then(|mut log| log.last(LINES, ended, |_| true));
    match last {
        Ok(lines) if lines.is_empty() => *text += "\n  its log is empty",
        Ok(lines) => {
            *text += "\n  the end of its log:";
            for line in lines {
                *text += &format!("\n    {}", cut(&String::from_utf8_lossy(&line.bytes)));
            }
        }
        Err(error) => *text += &format!("\n  its log cannot be read: {error}"),
    }
}

/// A line within bounds, without the carriage return that a terminal puts at its end.
fn cut(line: &str) -> String {
    let line = line.trim_end();
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
