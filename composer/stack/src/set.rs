//! Limits that are changed while containers run: what `set` puts over the file, against each other and the stack's cap.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Oom, OomPolicy, Resources, Service, Victim};
use crate::{check, cpuset, size};

/// What `set` changes, of a service or of the stack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settable {
    /// Its limits.
    pub resources: Resources,
    /// What happens when a container's memory runs out; nothing of the stack.
    pub oom: Oom,
    /// Who goes first when the stack's does; `None` of a service.
    pub victim: Option<Victim>,
}

impl Settable {
    /// Of a service.
    pub fn of_service(service: &Service) -> Self {
        Self { resources: service.resources.clone(), oom: service.oom.clone(), victim: None }
    }

    /// Of the stack.
    pub fn of_stack(resources: &Resources, victim: Option<Victim>) -> Self {
        Self { resources: resources.clone(), oom: Oom::default(), victim }
    }

    /// A service has these from now on.
    pub fn give_to(&self, service: &mut Service) {
        service.resources.clone_from(&self.resources);
        service.oom.clone_from(&self.oom);
    }

    /// Why these cannot hold together, where they cannot.
    pub fn contradiction(&self) -> Option<String> {
        check::contradiction(self)
    }

    /// What of a service is beyond this cap of the whole stack, and both values.
    pub fn beyond(&self, own: &Self) -> Option<String> {
        check::beyond(&self.resources, own)
    }
}

/// Limits over those of the file. `None` leaves what there is; zero, or an empty list, lifts a limit as in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// `mem_limit`, in bytes.
    pub memory: Option<u64>,
    /// `mem_reservation`, in bytes.
    pub memory_reservation: Option<u64>,
    /// `memswap_limit`, in bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// `x-mem-high`, in bytes.
    pub memory_high: Option<u64>,
    /// `cpus`.
    pub cpus: Option<f64>,
    /// `cpu_shares`.
    pub cpu_shares: Option<u64>,
    /// `cpuset`.
    pub cpuset: Option<String>,
    /// `pids_limit`; -1 is no limit.
    pub pids: Option<i64>,
    /// `x-cpu-burst`, in microseconds.
    pub cpu_burst: Option<u64>,
    /// `x-cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `blkio_config.weight`.
    pub io_weight: Option<u16>,
    /// `x-oom.policy` of a service.
    pub oom: Option<OomPolicy>,
    /// `x-oom.victim` of the stack.
    pub victim: Option<Victim>,
}

impl Setting {
    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These limits over others.
    pub fn over(&self, old: &Settable) -> Settable {
        let Settable { resources: mut new, mut oom, victim } = old.clone();
        if let Some(bytes) = self.memory {
            new.memory = Some(bytes).filter(|bytes| *bytes > 0);
        }
        if let Some(bytes) = self.memory_reservation {
            new.memory_reservation = Some(bytes).filter(|bytes| *bytes > 0);
        }
        if let Some(bytes) = self.memory_swap {
            new.memory_swap = Some(bytes).filter(|bytes| *bytes != 0);
        }
        if let Some(bytes) = self.memory_high {
            new.memory_high = Some(bytes).filter(|bytes| *bytes > 0);
        }
        if let Some(cpus) = self.cpus {
            new.cpus = Some(cpus).filter(|cpus| *cpus > 0.0);
            // The same limit in other words.
            (new.cpu_quota, new.cpu_period) = (None, None);
        }
        if let Some(shares) = self.cpu_shares {
            new.cpu_shares = Some(shares).filter(|shares| *shares > 0);
        }
        if let Some(cpus) = &self.cpuset {
            new.cpuset = Some(cpus.clone()).filter(|cpus| !cpus.is_empty());
        }
        if let Some(count) = self.pids {
            new.pids = Some(count).filter(|count| *count > 0);
        }
        if let Some(burst) = self.cpu_burst {
            new.cpu_burst = Some(burst).filter(|burst| *burst > 0);
        }
        if let Some(nodes) = &self.cpuset_mems {
            new.cpuset_mems = Some(nodes.clone()).filter(|nodes| !nodes.is_empty());
        }
        if let Some(weight) = self.io_weight {
            new.io.weight = Some(weight).filter(|weight| *weight > 0);
        }
        if let Some(policy) = self.oom {
            oom.policy = policy;
        }
        Settable { resources: new, oom, victim: self.victim.or(victim) }
    }

    /// What it sets, by the names of [`Resources`].
    pub fn fields(&self) -> Vec<String> {
        // Every map of it has string keys, so writing it cannot fail.
        let Ok(Value::Object(set)) = serde_json::to_value(self) else { return Vec::new() };
        let named = set.into_iter().filter(|(_, value)| !value.is_null()).map(|(field, _)| field);
        named.map(|field| if field == "io_weight" { "io".to_owned() } else { field }).collect()
    }

    /// These without what a file says by itself.
    pub fn beside(&self, file: &Settable) -> Self {
        let alone = |one: Self| if one.over(file) == *file { Self::default() } else { one };
        let parts = [
            Self { memory: self.memory, ..Self::default() },
            Self { memory_reservation: self.memory_reservation, ..Self::default() },
            Self { memory_swap: self.memory_swap, ..Self::default() },
            Self { memory_high: self.memory_high, ..Self::default() },
            Self { cpus: self.cpus, ..Self::default() },
            Self { cpu_shares: self.cpu_shares, ..Self::default() },
            Self { cpuset: self.cpuset.clone(), ..Self::default() },
            Self { pids: self.pids, ..Self::default() },
            Self { cpu_burst: self.cpu_burst, ..Self::default() },
            Self { cpuset_mems: self.cpuset_mems.clone(), ..Self::default() },
            Self { io_weight: self.io_weight, ..Self::default() },
            Self { oom: self.oom, ..Self::default() },
            Self { victim: self.victim, ..Self::default() },
        ];
        parts.into_iter().map(alone).fold(Self::default(), |all, one| all.and_then(&one))
    }

    /// These with a later one over them.
    pub fn and_then(&self, later: &Self) -> Self {
        Self {
            memory: later.memory.or(self.memory),
            memory_reservation: later.memory_reservation.or(self.memory_reservation),
            memory_swap: later.memory_swap.or(self.memory_swap),
            memory_high: later.memory_high.or(self.memory_high),
            cpus: later.cpus.or(self.cpus),
            cpu_shares: later.cpu_shares.or(self.cpu_shares),
            cpuset: later.cpuset.clone().or_else(|| self.cpuset.clone()),
            pids: later.pids.or(self.pids),
            cpu_burst: later.cpu_burst.or(self.cpu_burst),
            cpuset_mems: later.cpuset_mems.clone().or_else(|| self.cpuset_mems.clone()),
            io_weight: later.io_weight.or(self.io_weight),
            oom: later.oom.or(self.oom),
            victim: later.victim.or(self.victim),
        }
    }

    /// What is left of these over a file that said `before` when they were set and says `now`: a limit that somebody has
    /// edited there since is the file's again.
    pub fn where_unedited(&self, before: &Settable, now: &Settable) -> Self {
        let oom = self.oom.filter(|_| before.oom.policy == now.oom.policy);
        let victim = self.victim.filter(|_| before.victim == now.victim);
        let (before, now) = (&before.resources, &now.resources);
        let times = |of: &Resources| (of.cpus, of.cpu_quota, of.cpu_period);
        Self {
            memory: self.memory.filter(|_| before.memory == now.memory),
            memory_reservation: self
                .memory_reservation
                .filter(|_| before.memory_reservation == now.memory_reservation),
            memory_swap: self.memory_swap.filter(|_| before.memory_swap == now.memory_swap),
            memory_high: self.memory_high.filter(|_| before.memory_high == now.memory_high),
            cpus: self.cpus.filter(|_| times(before) == times(now)),
            cpu_shares: self.cpu_shares.filter(|_| before.cpu_shares == now.cpu_shares),
            cpuset: self.cpuset.clone().filter(|_| before.cpuset == now.cpuset),
            pids: self.pids.filter(|_| before.pids == now.pids),
            cpu_burst: self.cpu_burst.filter(|_| before.cpu_burst == now.cpu_burst),
            cpuset_mems: self.cpuset_mems.clone().filter(|_| before.cpuset_mems == now.cpuset_mems),
            io_weight: self.io_weight.filter(|_| before.io.weight == now.io.weight),
            oom,
            victim,
        }
    }
}

impl Resources {
    /// Some limit is lower here than in `old`: what is inside has to make room first.
    pub fn tightens(&self, old: &Self) -> bool {
        old.lowest(self) != *old
    }

    /// Of each limit of a stack the one that leaves more room.
    pub fn widest(&self, other: &Self) -> Self {
        fn most<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
            let (a, b) = (a?, b?);
            Some(if a < b { b } else { a })
        }
        let union = |own: &Option<String>, other: &Option<String>| {
            let (own, other) = (cpuset::parse(own.as_deref()?)?, cpuset::parse(other.as_deref()?)?);
            Some(cpuset::show(&own.union(&other).copied().collect()))
        };
        let total =
            |of: &Self| of.memory_swap.or_else(|| Some(i64::try_from(of.memory?).ok()?.saturating_mul(2)));
        let memory = most(self.memory, other.memory);
        let swap = total(self).zip(total(other)).map(|(a, b)| if a < 0 || b < 0 { -1 } else { a.max(b) });
        Self {
            cpus: most(self.cpus, other.cpus),
            memory,
            // Without a limit of memory there is none of both.
            memory_swap: swap.filter(|_| memory.is_some()),
            pids: most(self.pids.filter(|count| *count > 0), other.pids.filter(|count| *count > 0)),
            cpuset: union(&self.cpuset, &other.cpuset),
            cpuset_mems: union(&self.cpuset_mems, &other.cpuset_mems),
            ..other.clone()
        }
    }

    /// These with what is lower in `other`, as far as a stack's limits bound what is inside.
    fn lowest(&self, other: &Self) -> Self {
        fn least<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(if b < a { b } else { a }),
                (a, b) => a.or(b),
            }
        }
        let narrower = |own: &Option<String>, other: &Option<String>| match (own, other) {
            (Some(own), Some(other)) => {
                let covers = cpuset::parse(own).zip(cpuset::parse(other));
                covers.is_some_and(|(own, other)| !own.is_subset(&other))
            }
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let narrow = |own: &Option<String>, other: &Option<String>| {
            if narrower(own, other) { other.clone() } else { own.clone() }
        };
        Self {
            cpus: least(self.cpus, other.cpus),
            memory: least(self.memory, other.memory),
            pids: least(self.pids.filter(|count| *count > 0), other.pids.filter(|count| *count > 0)),
            cpuset: narrow(&self.cpuset, &other.cpuset),
            cpuset_mems: narrow(&self.cpuset_mems, &other.cpuset_mems),
            ..self.clone()
        }
    }
}

/// A CPU list as the kernel writes it; `None` where it is none. An empty one is that of nobody's own.
pub fn cpu_list(text: &str) -> Option<String> {
    if text.is_empty() { Some(String::new()) } else { cpuset::parse(text).map(|cpus| cpuset::show(&cpus)) }
}

/// Bytes of an amount as files have it: `256M`. A fraction of one is not zero, which would lift a limit.
pub fn bytes(text: &str) -> Option<u64> {
    size::parse(text).filter(|bytes| *bytes > 0 || !text.contains(|digit| ('1'..='9').contains(&digit)))
}

/// A policy as `set` has it: `kill`, `kill-group`, `pause` or `raise:STEP:MAX`; why it is none.
pub fn oom_policy(text: &str) -> Result<OomPolicy, String> {
    match text {
        "kill" => Ok(OomPolicy::Kill),
        "kill-group" => Ok(OomPolicy::KillGroup),
        "pause" => Ok(OomPolicy::Pause),
        _ => {
            let amounts = text.strip_prefix("raise:").and_then(|amounts| amounts.split_once(':'));
            let raise = amounts.and_then(|(step, max)| Some((bytes(step)?, bytes(max)?)));
            let (step, max) = raise
                .ok_or("write `kill`, `kill-group`, `pause` or `raise:STEP:MAX`, as `raise:32M:256M`")?;
            check::step(step).map(|()| OomPolicy::Raise { step, max })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: Value) -> Resources {
        serde_json::from_value(json).unwrap()
    }

    fn settable(json: Value, policy: OomPolicy) -> Settable {
        let oom = Oom { policy, ..Oom::default() };
        Settable { resources: resources(json), oom, victim: None }
    }

    fn limited(json: Value) -> Settable {
        settable(json, OomPolicy::default())
    }

    #[test]
    fn what_is_set_stands_until_the_file_says_something_else() {
        let mut file = limited(serde_json::json!({"memory": 64 << 20, "cpu_quota": 5000, "pids": 5}));
        file.oom.priority = 3;
        let oom = Some(OomPolicy::Pause);
        let set =
            Setting { memory: Some(128 << 20), cpus: Some(0.5), pids: Some(0), oom, ..Setting::default() };
        let now = set.over(&file);
        let Resources { memory, cpus, cpu_quota, pids, .. } = now.resources;
        assert_eq!((memory, cpus, cpu_quota, pids), (Some(128 << 20), Some(0.5), None, None));
        assert_eq!((now.oom.policy, now.oom.priority), (OomPolicy::Pause, 3));
        assert_eq!(set.where_unedited(&file, &file), set);
        let mut edited = file.clone();
        edited.resources.memory = Some(32 << 20);
        let left = set.where_unedited(&file, &edited);
        assert_eq!((left.memory, left.cpus, left.oom), (None, Some(0.5), oom));
        assert_eq!(left.over(&edited).resources.memory, Some(32 << 20));
        edited.oom.policy = OomPolicy::Kill;
        assert_eq!(set.where_unedited(&file, &edited).oom, None);
        let changes = file.changes(&now, false);
        let words: Vec<String> =
            changes.iter().map(|one| format!("{} {} {}", one.limit, one.from, one.to)).collect();
        assert_eq!(
            words,
            [
                "cpu_quota 5000 none",
                "cpus none 0.5",
                "mem_limit 64 MiB 128 MiB",
                "x-oom kill-group, priority 3 pause, priority 3",
                "pids_limit 5 none"
            ]
        );
    }

    #[test]
    fn what_the_file_says_by_itself_is_not_set_over_it() {
        let file = limited(serde_json::json!({"memory": 64 << 20, "io": {"weight": 50, "devices": []}}));
        let set = Setting {
            memory: Some(64 << 20),
            cpus: Some(0.0),
            cpuset: Some(String::new()),
            io_weight: Some(70),
            oom: Some(OomPolicy::KillGroup),
            victim: Some(Victim::Newest),
            ..Setting::default()
        };
        let (io_weight, victim) = (Some(70), Some(Victim::Newest));
        assert_eq!(set.beside(&file), Setting { io_weight, victim, ..Setting::default() });
        assert_eq!(set.fields(), ["cpus", "cpuset", "io", "memory", "oom", "victim"]);
        assert_eq!(set.over(&file).resources.io.weight, Some(70));
    }

    #[test]
    fn a_cap_is_held_against_what_is_inside() {
        let cap = serde_json::json!({"memory": 64 << 20, "cpus": 1.0, "cpuset": "0-1", "pids": 9});
        for (own, part) in [
            (
                serde_json::json!({"memory": 65 << 20}),
                "a limit of 65 MiB is more than the whole stack's 64 MiB",
            ),
            (serde_json::json!({"cpus": 1.5}), "1.5 CPUs are more than the whole stack's 1"),
            (serde_json::json!({"cpuset": "1-2"}), "CPU 2 is outside of the whole stack's 0-1"),
            (serde_json::json!({"cpu_quota": 150_000}), "1.5 CPUs are more than the whole stack's 1"),
            (serde_json::json!({"pids": 10}), "10 processes are more than the whole stack's 9"),
        ] {
            assert_eq!(limited(cap.clone()).beyond(&limited(own)).as_deref(), Some(part));
        }
        assert_eq!(limited(cap.clone()).beyond(&limited(cap.clone())), None);
        let raised = settable(cap.clone(), OomPolicy::Raise { step: 1 << 20, max: 65 << 20 });
        assert!(limited(cap).beyond(&raised).unwrap().contains("65 MiB"));
    }

    #[test]
    fn less_than_a_byte_is_not_zero() {
        assert_eq!(
            ["0", "0.0", "00m", "0.5", "0.0001k", "1"].map(bytes),
            [Some(0), Some(0), Some(0), None, None, Some(1)]
        );
    }

    #[test]
    fn between_two_caps_there_is_one_that_holds_both() {
        let old = resources(serde_json::json!({"memory": 64, "cpus": 1.0, "cpuset": "0-1"}));
        let new = resources(serde_json::json!({"memory": 32, "cpus": 2.0, "cpuset": "1-2"}));
        let both = old.widest(&new);
        assert_eq!((both.memory, both.cpus, both.cpuset.as_deref()), (Some(64), Some(2.0), Some("0-2")));
        assert_eq!(both.memory_swap, Some(128));
        assert!(new.tightens(&old) && old.tightens(&new) && both.tightens(&Resources::default()));
        assert!(!both.tightens(&old) && !Resources::default().tightens(&old));
    }

    #[test]
    fn limits_that_contradict_each_other() {
        let raise = OomPolicy::Raise { step: 1 << 20, max: 64 << 20 };
        let free = OomPolicy::KillGroup;
        for (oom, json, part) in [
            (free, serde_json::json!({"memory": 8 << 20, "memory_reservation": 9 << 20}), "is reserved"),
            (free, serde_json::json!({"memory": 8 << 20, "memory_high": 8 << 20}), "never reached"),
            (free, serde_json::json!({"memory": 8 << 20, "memory_swap": 7 << 20}), "memswap_limit"),
            (free, serde_json::json!({"memory_swap": 7 << 20}), "needs a limit of memory"),
            (free, serde_json::json!({"cpu_shares": 100, "cpu_idle": true}), "`x-cpu-idle` is the least"),
            (free, serde_json::json!({"cpu_shares": 100, "cpu_reserved": 0.5}), "are both weights"),
            (free, serde_json::json!({"cpus": 0.2, "cpu_reserved": 0.5}), "more CPUs are reserved"),
            (free, serde_json::json!({"cpus": 0.2, "cpu_burst": 30_000}), "more than the quota of 20000"),
            (free, serde_json::json!({"cpu_burst": 30_000}), "needs a limit of CPU time"),
            (OomPolicy::Pause, serde_json::json!({"memory": 256 << 20, "memory_high": 8}), "`pause`"),
            (OomPolicy::Pause, serde_json::json!({}), "`pause` needs a limit of memory"),
            (raise, serde_json::json!({}), "`raise` needs a limit of memory"),
            (raise, serde_json::json!({"memory": 128 << 20}), "not above the limit of memory, 128 MiB"),
        ] {
            let why = settable(json, oom).contradiction().unwrap();
            assert!(why.contains(part), "{why}");
        }
        let bare = serde_json::json!({"memory": 8 << 20, "memory_swap": -1, "pids": -1});
        assert_eq!(settable(bare.clone(), free).contradiction(), None);
        assert_eq!(settable(bare, raise).contradiction(), None);
        let victim = Settable { victim: Some(Victim::Biggest), ..Settable::default() };
        assert!(victim.contradiction().unwrap().contains("a victim is never chosen"));
    }

    #[test]
    fn policies_are_read() {
        assert_eq!(oom_policy("pause"), Ok(OomPolicy::Pause));
        assert_eq!(oom_policy("raise:8M:1g"), Ok(OomPolicy::Raise { step: 8 << 20, max: 1 << 30 }));
        for (text, part) in
            [("raise", "raise:STEP:MAX"), ("raise:8M", "raise:STEP:MAX"), ("raise:1k:1g", "too small")]
        {
            assert!(oom_policy(text).unwrap_err().contains(part), "{text}");
        }
    }
}
