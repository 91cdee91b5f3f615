//! Limits and policies as users see them: each by the key of the file, its value in words, and what has become of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hash::key;
use crate::model::{Bandwidth, Oom, OomPolicy, Resources, Service, Victim};
use crate::set::Settable;
use crate::{rate, size};

/// A limit or a policy that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownLimit {
    /// Its name in the model; that of [`Resources`], where it is one of those.
    pub field: String,
    /// Its key in the file.
    pub key: String,
    /// What it is, for users.
    pub value: String,
}

/// A limit that has another value now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitChange {
    /// Its key in the file.
    pub limit: String,
    /// What it was, for users.
    pub from: String,
    /// What it is.
    pub to: String,
}

impl LimitChange {
    /// What has become of limits; one that is not among them is not given.
    pub fn between(old: &[ShownLimit], new: &[ShownLimit]) -> Vec<Self> {
        let of = |all: &[ShownLimit], key: &str| {
            let found = all.iter().find(|one| one.key == key);
            found.map_or_else(|| default_of(key).unwrap_or("none").to_owned(), |one| one.value.clone())
        };
        let is_new = |one: &&ShownLimit| old.iter().all(|other| other.key != one.key);
        let mut all: Vec<&ShownLimit> = old.iter().chain(new.iter().filter(is_new)).collect();
        all.sort_by(|a, b| a.field.cmp(&b.field));
        let keys = all.into_iter().map(|one| &one.key);
        let changes = keys.map(|key| Self { limit: key.clone(), from: of(old, key), to: of(new, key) });
        changes.filter(|change| change.from != change.to).collect()
    }
}

/// What it means that a key is not given, where that is something.
pub fn default_of(key: &str) -> Option<&'static str> {
    (key == "x-oom").then_some("kill-group")
}

impl Service {
    /// What it may take, and what happens when it wants more.
    pub fn limits(&self) -> Vec<ShownLimit> {
        let mut limits = Settable::of_service(self).shown(false);
        limits.extend(self.bandwidth.shown("x-bandwidth"));
        limits
    }
}

/// What a whole stack may take, and who goes first when it wants more.
pub fn limits_of_stack(
    resources: &Resources,
    bandwidth: Bandwidth,
    victim: Option<Victim>,
) -> Vec<ShownLimit> {
    let mut limits = Settable::of_stack(resources, victim).shown(true);
    limits.extend(bandwidth.shown("bandwidth"));
    limits
}

impl Settable {
    /// What is given, by the keys of the file; `stack` where it is the stack's.
    fn shown(&self, stack: bool) -> Vec<ShownLimit> {
        let policy = (!self.oom.is_default()).then(|| ("oom", self.oom.shown()));
        let victim = self.victim.map(|victim| ("victim", victim.shown().to_owned()));
        let policies = policy.into_iter().chain(victim).map(|(field, value)| ShownLimit {
            key: key_of(field, stack),
            field: field.to_owned(),
            value,
        });
        self.resources.shown(stack).into_iter().chain(policies).collect()
    }

    /// What has another value in `new`, by the keys of the file; `stack` where it is the stack's.
    pub fn changes(&self, new: &Self, stack: bool) -> Vec<LimitChange> {
        LimitChange::between(&self.shown(stack), &new.shown(stack))
    }
}

impl Resources {
    /// Those that are given, by the keys of the file; `stack` where these are those of `x-resources`.
    pub fn shown(&self, stack: bool) -> Vec<ShownLimit> {
        let shown = |(field, value): (String, Value)| {
            let value = words(&field, &value)?;
            Some(ShownLimit { key: key_of(&field, stack), field, value })
        };
        fields(self).into_iter().filter_map(shown).collect()
    }
}

impl Victim {
    fn shown(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Biggest => "biggest",
            Self::Newest => "newest",
        }
    }
}

impl Oom {
    fn shown(&self) -> String {
        let mut text = match self.policy {
            OomPolicy::Kill => "kill".to_owned(),
            OomPolicy::KillGroup => "kill-group".to_owned(),
            OomPolicy::Pause => "pause".to_owned(),
            OomPolicy::Raise { step, max } => {
                format!("raise by {} to {}", size::show(step), size::show(max))
            }
        };
        if self.priority != 0 {
            text += &format!(", priority {}", self.priority);
        }
        if !self.hook.is_empty() {
            text += &format!(", hook {}", self.hook.join(" "));
        }
        text
    }
}

impl Bandwidth {
    fn shown(self, key: &str) -> impl Iterator<Item = ShownLimit> + use<> {
        let ways = [("ingress", self.ingress), ("egress", self.egress)];
        let key = key.to_owned();
        ways.into_iter().filter_map(move |(way, rate)| {
            let key = format!("{key}.{way}");
            Some(ShownLimit { field: "bandwidth".to_owned(), key, value: rate::show(rate?) })
        })
    }
}

/// The key of the file for a limit by its name in the model; `stack` where it is one of `x-resources`.
pub fn key_of(field: &str, stack: bool) -> String {
    match field {
        "cpu_reserved" if stack => "reservations.cpus".to_owned(),
        "memory_reservation" if stack => "reservations.memory".to_owned(),
        // `limits.swap` is swap alone, and this is both: the word of the kernel's own file.
        "memory_swap" if stack => "memswap".to_owned(),
        "victim" => "x-oom.victim".to_owned(),
        _ if stack => field.to_owned(),
        _ => key(field),
    }
}

/// Every map of the model has string keys, so writing it cannot fail.
fn fields(resources: &Resources) -> Map<String, Value> {
    match serde_json::to_value(resources) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// `None` for what is not given.
fn words(field: &str, value: &Value) -> Option<String> {
    Some(match (field, value) {
        (_, Value::Null) => return None,
        ("memory" | "memory_reservation" | "memory_swap" | "memory_high", Value::Number(number)) => {
            number.as_u64().map_or_else(|| "no limit".to_owned(), size::show)
        }
        ("pids" | "cpu_quota", Value::Number(number)) if number.as_i64().is_some_and(|n| n < 0) => {
            "no limit".to_owned()
        }
        ("hugetlb", Value::Object(sizes)) => listed(sizes.iter().filter_map(|(size, bytes)| {
            Some(format!("{} of {}", size::show(bytes.as_u64()?), size::show(size.parse().ok()?)))
        })),
        ("io", Value::Object(io)) => {
            let devices = io.get("devices").and_then(Value::as_array).into_iter().flatten();
            let weight = io.get("weight").and_then(Value::as_u64).map(|weight| format!("weight {weight}"));
            listed(weight.into_iter().chain(devices.filter_map(Value::as_object).map(device)))
        }
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string()),
    })
}

/// `/dev/sda read_bps 1 MiB`.
fn device(fields: &Map<String, Value>) -> String {
    let path = fields.get("path").and_then(Value::as_str).unwrap_or_default();
    let values = fields.iter().filter_map(|(name, value)| {
        let value = value.as_u64()?;
        Some(if name.ends_with("_bps") {
            format!(" {name} {}", size::show(value))
        } else {
            format!(" {name} {value}")
        })
    });
    format!("{path}{}", values.collect::<String>())
}

fn listed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: Value) -> Resources {
        serde_json::from_value(json).unwrap()
    }

    fn told(changes: &[LimitChange]) -> Vec<String> {
        changes.iter().map(|one| format!("{} {} -> {}", one.limit, one.from, one.to)).collect()
    }

    #[test]
    fn amounts_are_those_of_users() {
        let one = resources(serde_json::json!({
            "memory_swap": -1, "pids": -1, "hugetlb": {"2097152": 4194304},
            "io": {"weight": 50, "devices": [{"path": "/dev/sda", "read_bps": 1048576, "write_iops": 5}]},
        }));
        let words: Vec<String> =
            one.shown(false).into_iter().map(|one| format!("{} {}", one.key, one.value)).collect();
        assert_eq!(
            words,
            [
                "x-hugetlb 4 MiB of 2 MiB",
                "blkio_config weight 50 and /dev/sda read_bps 1 MiB write_iops 5",
                "memswap_limit no limit",
                "pids_limit no limit",
            ]
        );
    }

    #[test]
    fn the_stacks_swap_alone_and_its_sum_with_memory_have_two_names() {
        let old = resources(
            serde_json::json!({"memory": 300 << 20, "memory_swap": 500 << 20, "cpu_reserved": 0.5}),
        );
        let new = resources(
            serde_json::json!({"memory": 300 << 20, "memory_swap": 450 << 20, "memory_reservation": 1 << 20}),
        );
        assert_eq!(
            told(&LimitChange::between(&old.shown(true), &new.shown(true))),
            [
                "reservations.cpus 0.5 -> none",
                "reservations.memory none -> 1 MiB",
                "memswap 500 MiB -> 450 MiB",
            ]
        );
    }

    #[test]
    fn policies_and_rates_have_an_old_and_a_new_value() {
        let rates = |ingress, egress| Bandwidth { ingress, egress };
        let old = limits_of_stack(&Resources::default(), rates(Some(10_000_000), None), None);
        let new =
            limits_of_stack(&Resources::default(), rates(Some(1_500_000), Some(8)), Some(Victim::Newest));
        assert_eq!(
            told(&LimitChange::between(&old, &new)),
            [
                "bandwidth.ingress 10mbit -> 1.5mbit",
                "bandwidth.egress none -> 8bit",
                "x-oom.victim none -> newest"
            ]
        );
        let policy = |policy| Oom { policy, priority: 0, hook: Vec::new() };
        let raise = policy(OomPolicy::Raise { step: 8 << 20, max: 64 << 20 });
        assert_eq!(raise.shown(), "raise by 8 MiB to 64 MiB");
        let hooked =
            Oom { priority: -1, hook: vec!["page".to_owned(), "me".to_owned()], ..policy(OomPolicy::Pause) };
        assert_eq!(hooked.shown(), "pause, priority -1, hook page me");
    }
}
