//! Words that editors offer where others may stand as well, so that [`super::Shape::Word`] would refuse too much.

/// A record's name, one of its keys, and what may be written there.
pub(crate) const EXAMPLES: &[(&str, &str, &[&str])] = &[
    ("a service", "ipc", &["private", "shareable", "host", "none", "service:NAME"]),
    ("a service", "network_mode", &["host", "none", "bridge", "service:NAME"]),
    ("a service", "pid", &["host", "service:NAME"]),
    ("a service", "platform", &["linux/amd64", "linux/arm64"]),
    (
        "a service",
        "pull_policy",
        &["always", "missing", "never", "build", "daily", "weekly", "every_12h", "if_not_present", "refresh"],
    ),
    ("a service", "restart", &["no", "always", "on-failure", "on-failure:3", "unless-stopped"]),
    ("a service", "stop_grace_period", &["10s", "1m30s"]),
    ("a service", "stop_signal", &["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGKILL"]),
    ("a service", "userns_mode", &["host"]),
    ("a service", "uts", &["host"]),
    ("a service", "mem_limit", &["512m", "1g"]),
    ("a service", "x-rootfs", &["host"]),
    ("`build`", "network", &["default", "host", "none"]),
    ("`logging`", "driver", &["json-file", "local", "journald", "syslog", "none"]),
    ("an entry of `env_file`", "format", &["raw"]),
    ("a port", "mode", &["ingress", "host"]),
    ("a port", "protocol", &["tcp", "udp", "sctp"]),
    ("a port", "app_protocol", &["http", "https"]),
    ("`bind`", "propagation", &["rprivate", "private", "rshared", "shared", "rslave", "slave"]),
    ("`deploy`", "mode", &["replicated", "global", "replicated-job", "global-job"]),
    ("`deploy`", "endpoint_mode", &["vip", "dnsrr"]),
    ("`restart_policy`", "condition", &["none", "on-failure", "any"]),
    ("an update policy", "failure_action", &["continue", "pause", "rollback"]),
    ("a network", "driver", &["bridge", "host", "none"]),
    ("a volume", "driver", &["local"]),
    ("`healthcheck`", "interval", &["10s", "1m30s"]),
    ("`healthcheck`", "timeout", &["10s", "1m30s"]),
];

/// The examples of a key.
pub(crate) fn of(record: &str, key: &str) -> Option<&'static [&'static str]> {
    EXAMPLES.iter().find(|(what, name, _)| *what == record && *name == key).map(|(_, _, words)| *words)
}
