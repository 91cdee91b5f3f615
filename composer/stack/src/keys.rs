//! Every key that the Compose Specification knows (schema of 2026), by the mapping that it belongs to: what tells
//! "not supported yet" from "unknown".

/// Keys at the top level.
pub(crate) const TOP: &[&str] =
    &["configs", "include", "models", "name", "networks", "secrets", "services", "version", "volumes"];

/// Keys of a service.
pub(crate) const SERVICE: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "post_start",
    "pre_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
];

/// Keys of `build`.
pub(crate) const BUILD: &[&str] = &[
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// Keys of `deploy`.
pub(crate) const DEPLOY: &[&str] = &[
    "endpoint_mode",
    "labels",
    "mode",
    "placement",
    "replicas",
    "resources",
    "restart_policy",
    "rollback_config",
    "update_config",
];

/// Keys of `deploy.resources.limits`.
pub(crate) const DEPLOY_LIMITS: &[&str] = &["cpus", "memory", "pids"];

/// Keys of `deploy.resources.reservations`.
pub(crate) const DEPLOY_RESERVATIONS: &[&str] = &["cpus", "devices", "generic_resources", "memory"];

/// Keys of a network of a service.
pub(crate) const SERVICE_NETWORK: &[&str] = &[
    "aliases",
    "driver_opts",
    "gw_priority",
    "interface_name",
    "ipv4_address",
    "ipv6_address",
    "link_local_ips",
    "mac_address",
    "priority",
];

/// Keys of a network.
pub(crate) const NETWORK: &[&str] = &[
    "attachable",
    "driver",
    "driver_opts",
    "enable_ipv4",
    "enable_ipv6",
    "external",
    "internal",
    "ipam",
    "labels",
    "name",
];

/// Keys of a volume.
pub(crate) const VOLUME: &[&str] = &["driver", "driver_opts", "external", "labels", "name"];

/// Keys of a mount.
pub(crate) const MOUNT: &[&str] =
    &["bind", "consistency", "image", "read_only", "source", "target", "tmpfs", "type", "volume"];

/// Keys of a bind mount.
pub(crate) const MOUNT_BIND: &[&str] = &["create_host_path", "propagation", "recursive", "selinux"];

/// Keys of a volume mount.
pub(crate) const MOUNT_VOLUME: &[&str] = &["labels", "nocopy", "subpath"];

/// Keys of a tmpfs mount.
pub(crate) const MOUNT_TMPFS: &[&str] = &["mode", "size"];

/// Keys of `deploy.resources`.
pub(crate) const DEPLOY_RESOURCES: &[&str] = &["limits", "reservations"];

/// Keys of `healthcheck`.
pub(crate) const HEALTHCHECK: &[&str] =
    &["disable", "interval", "retries", "start_interval", "start_period", "test", "timeout"];

/// Keys of an entry of `depends_on`.
pub(crate) const DEPENDENCY: &[&str] = &["condition", "required", "restart"];

/// Keys of an entry of `env_file`.
pub(crate) const ENV_FILE: &[&str] = &["format", "path", "required"];
