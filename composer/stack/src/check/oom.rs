//! What happens when memory runs out: policies against limits, the stack's cap and the host.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::limits::Limits;
use crate::model::{Oom, OomPolicy};
use crate::options::{HostFacts, Lacking};
use crate::set::Settable;
use crate::size;
use crate::source::Span;
use crate::values::{self, At};
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    let stack = Stack::new(project);
    stack.check(report);
    for service in project.services() {
        let Some(own) = service.get("x-oom").filter(|node| node.as_map().is_some()) else { continue };
        Own { service, own, limits: Limits::of_service(service.node()) }.check(&stack, report);
    }
}

/// What the stack says.
struct Stack<'a> {
    project: Project<'a>,
    own: Option<&'a Node>,
    cap: Option<At<i64>>,
}

impl<'a> Stack<'a> {
    fn new(project: Project<'a>) -> Self {
        let (own, cap) = (project.root.get("x-oom"), Limits::of_stack(project.root).memory);
        Self { project, own, cap }
    }

    fn victim(&self) -> Option<&'a Node> {
        self.own?.get("victim").filter(|node| !node.is_null())
    }

    /// A file means the same on every host.
    fn host(&self) -> Option<&'a HostFacts> {
        self.project.options.host.as_ref().filter(|_| self.project.running())
    }

    fn lacks(&self, what: Lacking) -> bool {
        self.host().is_some_and(|host| host.lacks.contains(&what))
    }

    fn check(&self, report: &mut Report) {
        if let Some(victim) = self.victim() {
            needs_cap(victim.span, self.cap, report);
        }
        if let Some(policy) = self.own.and_then(|own| own.get("policy")) {
            self.can_do(policy, report);
        }
    }

    /// Whether the host can do a policy.
    fn can_do(&self, policy: &Node, report: &mut Report) {
        let word = policy.text_value().unwrap_or_default();
        let why = if self.lacks(Lacking::Memory) {
            "its control groups have no memory controller"
        } else if word == "pause" && self.lacks(Lacking::Freezer) {
            "it has no freezer: neither cgroup2 nor the freezer of cgroup v1 is mounted"
        } else {
            return;
        };
        report.error(policy.span, format!("this host cannot do `{word}`: {why}"));
    }
}

/// `x-oom` of a service.
struct Own<'a> {
    service: Named<'a>,
    own: &'a Node,
    limits: Limits,
}

impl<'a> Own<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.own.get(key).filter(|node| !node.is_null())
    }

    fn bytes(&self, key: &str) -> Option<At<i64>> {
        let node = self.get(key)?;
        Some(At::new(node, values::whole(node)?))
    }

    fn check(&self, stack: &Stack<'_>, report: &mut Report) {
        if let Some(disabled) = self.service.get("oom_kill_disable").filter(|node| values::flag(Some(node))) {
            report
                .error(disabled.span, "`oom_kill_disable` and `x-oom` are both given")
                .also(self.own.span, "this says what happens when memory runs out")
                .help("keep one of them; `x-oom: pause` holds the service without killing anything");
        }
        if let Some(priority) = self.get("priority") {
            let by_priority = stack.victim().and_then(Node::text_value) == Some("priority");
            if !by_priority {
                report
                    .error(priority.span, "nothing goes by this priority")
                    .help("set the stack's `x-oom: { victim: priority }`, at the top level");
            }
        }
        if let Some(program) = self.get("hook").and_then(|hook| hook.items().first())
            && program.text_value() == Some("")
        {
            report.error(program.span, "`hook` names no program").help("write it as its first word");
        }
        let Some(policy) = self.get("policy") else { return self.idle(report) };
        stack.can_do(policy, report);
        match policy.text_value() {
            Some("raise") => {
                needs_limit(("raise", policy.span), &self.limits, stack.cap, report);
                self.raises(policy, stack, report);
            }
            Some("pause") => {
                needs_limit(("pause", policy.span), &self.limits, stack.cap, report);
                self.idle(report);
            }
            Some(_) | None => self.idle(report),
        }
    }

    /// Keys of `raise` without it.
    fn idle(&self, report: &mut Report) {
        for key in ["step", "max"] {
            if let Some(node) = self.get(key) {
                report
                    .error(node.span, format!("`{key}` is of the policy `raise` alone"))
                    .help(format!("remove it, or set `policy: raise` for {}", self.service.name));
            }
        }
    }

    fn raises(&self, policy: &Node, stack: &Stack<'_>, report: &mut Report) {
        for (key, what) in
            [("step", "by how much it lifts the limit each time"), ("max", "how far it lifts the limit")]
        {
            if self.get(key).is_none() {
                report
                    .error(policy.span, format!("`raise` needs `{key}`: {what}"))
                    .help("`x-oom: { policy: raise, step: 32M, max: 256M }` has all that it needs");
            }
        }
        if let Some(step) = self.bytes("step").filter(|step| step.value < LEAST_STEP) {
            report
                .error(step.span, too_small(step.value))
                .help(format!("the least is {}", shown(LEAST_STEP)));
        }
        let Some(max) = self.bytes("max") else { return };
        above_limit(max, &self.limits, report);
        within(max, stack.cap, stack.host(), report);
    }
}

/// What the policies that act below the limit want of a service's limits.
fn needs_limit((word, at): (&str, Span), limits: &Limits, cap: Option<At<i64>>, report: &mut Report) {
    if let Some(high) = limits.high {
        report
            .error(high.span, format!("`x-mem-high` and the policy `{word}` are both given"))
            .also(at, "this acts by the same control of the kernel")
            .help("keep one of them");
    }
    if limits.memory.is_some() {
        return;
    }
    let mut found = report.error(at, format!("`{word}` needs a limit of memory of the service's own"));
    if let Some(cap) = cap {
        found =
            found.also(cap.span, "at the limit of the whole stack a container is killed, by `x-oom.victim`");
    }
    found.help("set `mem_limit`");
}

fn above_limit(max: At<i64>, limits: &Limits, report: &mut Report) {
    if let Some(memory) = limits.memory.filter(|memory| max.value <= memory.value) {
        report
            .error(max.span, format!("`max` is not above the limit of memory, {}", shown(memory.value)))
            .also(memory.span, "the limit of memory, from which it is raised");
    }
}

fn within(max: At<i64>, cap: Option<At<i64>>, host: Option<&HostFacts>, report: &mut Report) {
    if let Some(cap) = cap.filter(|cap| max.value > cap.value) {
        let message =
            format!("a limit of {} is more than the whole stack's {}", shown(max.value), shown(cap.value));
        report.error(max.span, message).also(cap.span, "the limit of the whole stack");
    } else if let Some(host) = host
        && u64::try_from(max.value).is_ok_and(|max| max > host.memory)
    {
        report
            .error(max.span, format!("{} is more memory than this host has", shown(max.value)))
            .note(format!("this host has {}", size::show(host.memory)));
    }
}

fn needs_cap(victim: Span, cap: Option<At<i64>>, report: &mut Report) {
    if cap.is_none() {
        report
            .error(victim, "a victim is never chosen: the stack has no limit of memory")
            .help("set `x-resources.limits.memory`, which is what it is chosen at");
    }
}

/// What policies want of limits that are changed.
pub(super) fn of_changed(settable: &Settable, limits: &Limits, report: &mut Report) {
    if settable.victim.is_some() {
        needs_cap(Span::NOWHERE, limits.memory, report);
    }
    match settable.oom.policy {
        OomPolicy::Pause => needs_limit(("pause", Span::NOWHERE), limits, None, report),
        OomPolicy::Raise { max, .. } => {
            needs_limit(("raise", Span::NOWHERE), limits, None, report);
            above_limit(At::nowhere(max), limits, report);
        }
        OomPolicy::Kill | OomPolicy::KillGroup => {}
    }
}

/// How far a policy raises a limit, inside the stack's that is changed.
pub(super) fn changed_within(oom: &Oom, cap: &Limits, report: &mut Report) {
    if let OomPolicy::Raise { max, .. } = oom.policy {
        within(At::nowhere(max), cap.memory, None, report);
    }
}

/// Below it, one raise follows the other faster than they are worth.
const LEAST_STEP: i64 = 1 << 20;

fn too_small(step: i64) -> String {
    format!("a step of {} is too small", shown(step))
}

/// Why a step is refused that is in no file.
pub(crate) fn step(bytes: u64) -> Result<(), String> {
    match i64::try_from(bytes) {
        Ok(step) if step < LEAST_STEP => {
            Err(format!("{}: the least is {}", too_small(step), shown(LEAST_STEP)))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// An amount of bytes for users.
fn shown(bytes: i64) -> String {
    size::show(u64::try_from(bytes).unwrap_or_default())
}
