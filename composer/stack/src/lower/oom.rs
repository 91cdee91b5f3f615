//! What happens when memory runs out.

use crate::limits::Limits;
use crate::model::{Oom, OomPolicy, Victim};
use crate::values;
use crate::yaml::Node;

/// `x-oom` of a service, with the stack's policy where it has none.
pub(super) fn of_service(root: &Node, service: &Node) -> Oom {
    let own = service.get("x-oom");
    let get = |key: &str| own.and_then(|own| own.get(key));
    let bytes = |key: &str| get(key).and_then(values::whole).and_then(|bytes| u64::try_from(bytes).ok());
    let word = |node: Option<&Node>| node?.get("policy")?.text_value().map(str::to_owned);
    let inherited = || word(root.get("x-oom")).filter(|policy| policy != "pause" || has_limit(service));
    let policy = match word(own).or_else(inherited).as_deref() {
        Some("kill") => OomPolicy::Kill,
        Some("pause") => OomPolicy::Pause,
        Some("raise") => OomPolicy::Raise {
            step: bytes("step").unwrap_or_default(),
            max: bytes("max").unwrap_or_default(),
        },
        Some(_) | None => OomPolicy::KillGroup,
    };
    Oom {
        policy,
        priority: get("priority").and_then(values::whole).unwrap_or_default(),
        hook: get("hook").and_then(values::texts).unwrap_or_default(),
    }
}

fn has_limit(service: &Node) -> bool {
    Limits::of_service(service).memory.is_some()
}

pub(super) fn victim(root: &Node) -> Option<Victim> {
    match root.get("x-oom")?.get("victim")?.text_value()? {
        "priority" => Some(Victim::Priority),
        "biggest" => Some(Victim::Biggest),
        "newest" => Some(Victim::Newest),
        _ => None,
    }
}
