//! Why `up` cannot do a key yet ([`super::Support::NotYet`]), and what does the same in the meantime.

/// What a key lacks.
#[derive(Clone, Copy)]
pub(crate) struct Lack {
    record: &'static str,
    key: &'static str,
    pub why: &'static str,
    /// Empty where nothing does the same.
    pub way: &'static str,
}

const SERVICE: &str = "a service";

pub(crate) const LACKS: &[Lack] = &[
    lack(
        SERVICE,
        "cgroup_parent",
        "a container's cgroup is below that of its stack",
        "`x-resources` limits the stack",
    ),
    lack(SERVICE, "x-cpus-exclusive", "CPUs are not set aside", "`cpuset` of every service keeps them apart"),
];

const fn lack(record: &'static str, key: &'static str, why: &'static str, way: &'static str) -> Lack {
    Lack { record, key, why, way }
}

/// What a key of a record lacks.
pub(crate) fn of(record: &str, key: &str) -> Option<Lack> {
    LACKS.iter().find(|lack| lack.record == record && lack.key == key).copied()
}

/// The record and the key.
#[cfg(test)]
pub(crate) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    LACKS.iter().map(|lack| (lack.record, lack.key))
}
