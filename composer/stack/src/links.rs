//! How a service names another in a value of its own.

/// Keys that may say `service:NAME`.
pub(crate) const NAMESPACES: [&str; 5] = ["network_mode", "ipc", "pid", "uts", "cgroup"];

/// The service in an item of `links`: `SERVICE` or `SERVICE:ALIAS`. As in Docker Compose, what has more parts is the
/// name of a service that cannot be.
pub(crate) fn target(link: &str) -> &str {
    match link.split_once(':') {
        Some((target, alias)) if !alias.contains(':') => target,
        Some(_) | None => link,
    }
}

/// The two parts of an item of `links` or `external_links`.
pub(crate) fn parts(link: &str) -> (&str, Option<&str>) {
    let target = target(link);
    (target, link[target.len()..].strip_prefix(':').filter(|alias| !alias.is_empty()))
}
