//! A service.

use super::build::BUILD;
use super::container::{
    BLKIO, CREDENTIAL_SPEC, DEPENDENCY, DEVELOP, HEALTHCHECK, HOOK, KEYED, LOGGING, PRE_START, PROVIDER,
    SERVICE_MODEL, SERVICE_NETWORK, ULIMIT,
};
use super::deploy::DEPLOY;
use super::{COUNT, Field, NUMBER, Print, Record, SET, Shape, Support, TEXTS, own};
use crate::merge::{self, Merge};
use crate::shape;

const WINDOWS: Support = Support::Ignored("it is for Windows alone");

/// A service.
pub(crate) static SERVICE: Record = Record::new(
    "a service",
    &[
        Field::new("profiles", TEXTS, "The service is there only when one of these profiles is asked for.")
            .merge(KEYED),
        Field::new("annotations", shape::LABELS, "Annotations of the container's OCI specification.")
            .merge(Merge::Pairs),
        Field::new("attach", Shape::Bool, "Whether `up` shows what the service writes.").print(Print::Given),
        Field::new("build", shape::BUILD, "How to build the image: a context, or a mapping.")
            .print(Print::Given),
        Field::new("develop", Shape::Record(&DEVELOP), "What happens when sources change, for `watch`.")
            .nullable()
            .print(Print::Given),
        Field::new(
            "blkio_config",
            Shape::Record(&BLKIO),
            "How fast the container may read from and write to disks.",
        )
        .print(Print::Given),
        Field::new("cap_add", TEXTS, "Capabilities that are added to the default ones.").merge(KEYED),
        Field::new("cap_drop", TEXTS, "Capabilities that are taken away; `ALL` are all of them.")
            .merge(KEYED),
        Field::new("cgroup_parent", Shape::Text, "The cgroup that the container's own is made in.")
            .support(Support::NotYet),
        Field::new(
            "cgroup",
            Shape::Word(&["host", "private"]),
            "The cgroup namespace: the `host`'s or one of its own.",
        ),
        Field::new("cpu_count", COUNT, "How many CPUs a Windows container has.").support(WINDOWS),
        Field::new("cpu_percent", Shape::Int(0, 100), "How much of the CPUs a Windows container has.")
            .support(WINDOWS),
        Field::new("cpu_period", NUMBER, "The period that `cpu_quota` is reckoned in, in microseconds."),
        Field::new("cpu_quota", NUMBER, "CPU time in each `cpu_period`, in microseconds."),
        Field::new(
            "cpu_rt_period",
            NUMBER,
            "The period that `cpu_rt_runtime` is reckoned in, in microseconds.",
        ),
        Field::new("cpu_rt_runtime", NUMBER, "Real-time CPU time in each `cpu_rt_period`, in microseconds."),
        Field::new("cpus", Shape::Float, "CPU time that the container may use, in CPUs: `0.5`."),
        Field::new("cpuset", shape::CPUSET, "CPUs that the container may run on: `0-2,4`."),
        Field::new("cpu_shares", NUMBER, "Weight when CPUs are busy, 2 to 262144; 1024 is neutral."),
        Field::new(
            "command",
            shape::COMMAND,
            "What is run, or the arguments of `entrypoint`, instead of the image's own.",
        )
        .merge(Merge::Replace)
        .print(Print::NullInJson),
        Field::new("configs", Shape::List(&shape::FILE_MOUNT), "Configs that the container gets as files.")
            .merge(Merge::Unique(merge::by_config_target)),
        Field::new(
            "container_name",
            shape::CONTAINER_NAME,
            "Name of the only container, instead of a derived one.",
        ),
        Field::new(
            "credential_spec",
            Shape::Record(&CREDENTIAL_SPEC),
            "Credentials of a managed service account.",
        )
        .print(Print::Given)
        .support(WINDOWS),
        Field::new(
            "depends_on",
            shape::DEPENDS_ON,
            "Services that start before this one, and what they must have reached.",
        ),
        Field::new(
            "deploy",
            Shape::Record(&DEPLOY),
            "Replicas, resources and restarts, under the names that Swarm has for them.",
        )
        .nullable()
        .print(Print::Given),
        Field::new(
            "device_cgroup_rules",
            SET,
            "Devices that may be used, as the cgroup takes them: `c 1:3 mr`.",
        ),
        Field::new("devices", Shape::List(&shape::DEVICE), "Devices of the host that the container may use.")
            .merge(Merge::Unique(merge::by_target)),
        Field::new("dns", shape::DNS, "DNS servers for names that are none of the project's own.")
            .merge(KEYED),
        Field::new("dns_opt", TEXTS, "Options for `/etc/resolv.conf`.").merge(KEYED),
        Field::new("dns_search", shape::TEXT_OR_TEXTS, "Domains in which short names are looked up.")
            .merge(KEYED),
        Field::new("domainname", shape::DOMAINNAME, "NIS domain name of the container."),
        Field::new("entrypoint", shape::COMMAND, "The program that is run, instead of the image's own.")
            .merge(Merge::Replace)
            .print(Print::NullInJson),
        Field::new(
            "provider",
            Shape::Record(&PROVIDER),
            "A program that provides the service instead of a container.",
        )
        .print(Print::Given)
        .support(Support::Refused("providers are plugins of Docker Compose, which is not here")),
        Field::new(
            "environment",
            shape::PAIRS,
            "Environment variables; one without a value has that of the caller.",
        )
        .merge(Merge::Pairs),
        Field::new(
            "env_file",
            shape::ENV_FILES,
            "Files with environment variables, below those of `environment`.",
        )
        .merge(Merge::Unique(merge::by_path))
        .print(Print::As(shape::shown_env_files)),
        Field::new(
            "expose",
            Shape::List(&shape::TEXT_OR_INT),
            "Ports that other services use; for people alone.",
        )
        .merge(Merge::Unique(merge::by_text)),
        Field::new("extends", shape::EXTENDS, "Another service whose settings this one begins with.")
            .merge(Merge::Replace)
            .print(Print::Never),
        Field::new("external_links", SET, "Containers of other projects that get names in this one."),
        Field::new("extra_hosts", shape::HOSTS, "Names and addresses for the container's `/etc/hosts`.")
            .merge(Merge::Own(merge::hosts)),
        Field::new("group_add", Shape::Set(&shape::TEXT_OR_INT), "Further groups of the container's user."),
        Field::new("gpus", shape::GPUS, "GPUs that the container gets: `all`, or a list.")
            .merge(Merge::Lists),
        Field::new(
            "hostname",
            shape::HOSTNAME,
            "Host name of the container; its short id where this is not given.",
        ),
        Field::new(
            "healthcheck",
            Shape::Record(&HEALTHCHECK),
            "A command that tells whether the service is well.",
        )
        .print(Print::Given),
        Field::new("image", Shape::Text, "The image: a name, a tag, a digest."),
        Field::new(
            "init",
            Shape::Bool,
            "Runs a small init as PID 1, which reaps processes and forwards signals.",
        )
        .print(Print::Given),
        Field::new(
            "ipc",
            Shape::Text,
            "The IPC namespace: `private`, `shareable`, `host`, or `service:NAME`.",
        ),
        Field::new("isolation", Shape::Text, "How a Windows container is isolated.").support(WINDOWS),
        Field::new("labels", shape::LABELS, "Labels of the container.").merge(Merge::Pairs),
        Field::new("label_file", shape::LABEL_FILES, "Files with labels, below those of `labels`."),
        Field::new(
            "links",
            TEXTS,
            "Services that are reached under further names, and start before this one.",
        )
        .merge(KEYED),
        Field::new("logging", Shape::Record(&LOGGING), "Where the container's output goes.")
            .merge(Merge::Own(merge::logging))
            .print(Print::Given),
        Field::new("mem_limit", Shape::BytesOrFraction, "Memory that the container may use at most: `64m`."),
        Field::new("mem_reservation", Shape::Bytes, "Memory that is protected when the host runs short."),
        Field::new(
            "memswap_limit",
            Shape::BytesOrMinusOne,
            "Memory and swap together; -1 is no limit for swap.",
        ),
        Field::new("mem_swappiness", Shape::Bytes, "How readily memory is swapped out, 0 to 100."),
        Field::new("mac_address", shape::MAC_ADDRESS, "Hardware address of the container's interface."),
        Field::new("models", shape::SERVICE_MODELS, "Language models that the service uses.")
            .support(Support::Refused("language models are run by Docker's model runner, which is not here")),
        Field::new(
            "network_mode",
            Shape::Text,
            "`host`, `none`, or the network of `service:NAME`, instead of `networks`.",
        ),
        Field::new(
            "networks",
            shape::SERVICE_NETWORKS,
            "Networks that the container joins; `default` where none is named.",
        ),
        Field::new(
            "oom_kill_disable",
            Shape::Bool,
            "Processes wait instead of being killed when memory runs out.",
        ),
        Field::new(
            "oom_score_adj",
            Shape::Int(-1000, 1000),
            "How likely the kernel kills it when memory runs out.",
        ),
        Field::new("pid", Shape::Text, "The PID namespace: the `host`'s, or that of `service:NAME`.")
            .nullable(),
        Field::new("pids_limit", shape::PIDS, "Processes and threads at most; -1 is no limit."),
        Field::new("platform", Shape::Text, "Platform of the image: `linux/arm64`."),
        Field::new("ports", shape::PORTS, "Ports that are published on the host: `HOST:CONTAINER`.")
            .merge(Merge::Unique(merge::by_port)),
        Field::new("privileged", Shape::Bool, "Runs the container with all privileges."),
        Field::new(
            "pull_policy",
            shape::PULL_POLICY,
            "When the image is pulled: `always`, `missing`, `never`, `build`, `daily`, `weekly` or `every_12h`.",
        ),
        Field::new("pull_refresh_after", Shape::Text, "After how long the image is pulled again.")
            .print(Print::Untyped)
            .support(Support::Ignored("Docker Compose ignores it too: write `pull_policy: every_12h`")),
        Field::new("read_only", Shape::Bool, "Nothing can be written to the container's root filesystem."),
        Field::new("restart", shape::RESTART, "Whether the container is started again when it ends."),
        Field::new("runtime", Shape::Text, "The OCI runtime that runs the container.")
            .support(Support::Ignored("containers are run without an OCI runtime")),
        Field::new("scale", shape::REPLICAS, "How many containers run.").print(Print::Given),
        Field::new("secrets", Shape::List(&shape::FILE_MOUNT), "Secrets that the container gets as files.")
            .merge(Merge::Unique(merge::by_secret_target)),
        Field::new("security_opt", SET, "Seccomp and LSM profiles, and `no-new-privileges`."),
        Field::new("shm_size", Shape::BytesOrFraction, "Size of `/dev/shm`: `64m` by default."),
        Field::new("stdin_open", Shape::Bool, "Standard input stays open."),
        Field::new(
            "stop_grace_period",
            Shape::Duration,
            "How long the container has to stop before it is killed.",
        )
        .print(Print::Given),
        Field::new("stop_signal", shape::SIGNAL, "The signal that asks it to stop; SIGTERM by default."),
        Field::new(
            "storage_opt",
            Shape::Map(&shape::TEXT_OR_INT_OR_EMPTY),
            "Options of Docker's storage driver.",
        )
        .support(Support::Ignored("they are options of Docker's storage drivers")),
        Field::new("sysctls", shape::LABELS, "Kernel parameters of the container's namespaces.")
            .merge(Merge::Pairs),
        Field::new(
            "tmpfs",
            shape::TEXT_OR_TEXTS,
            "Memory that is mounted: `PATH`, or `PATH:size=64m,mode=1770`.",
        )
        .merge(KEYED),
        Field::new("tty", Shape::Bool, "Standard streams are a terminal."),
        Field::new(
            "ulimits",
            Shape::Map(&ULIMIT),
            "Limits of processes: `nofile: 1024`, or soft and hard ones.",
        )
        .merge(Merge::Pairs),
        Field::new("use_api_socket", Shape::StrictBool, "Hands the Docker engine's socket to the container.")
            .support(Support::Refused("there is no Docker engine whose socket could be handed on")),
        Field::new("user", shape::USER, "User, and group, that runs the processes: `1000:1000`."),
        Field::new("userns_mode", Shape::Text, "`host`: no user namespace of its own."),
        Field::new("uts", Shape::Text, "`host`: the host's own host name."),
        Field::new(
            "volumes",
            Shape::List(&shape::MOUNT),
            "What is mounted: `SOURCE:TARGET:OPTIONS`, or mappings.",
        )
        .merge(Merge::Unique(merge::by_target)),
        Field::new("volumes_from", SET, "Services and containers whose mounts are taken over."),
        Field::new("working_dir", shape::WORKING_DIR, "Folder that the program is run in."),
        Field::new(
            "pre_start",
            Shape::List(&Shape::Record(&PRE_START)),
            "Containers that run to their end before the service starts.",
        ),
        Field::new(
            "post_start",
            Shape::List(&Shape::Record(&HOOK)),
            "Commands that run inside once the container has started.",
        ),
        Field::new(
            "pre_stop",
            Shape::List(&Shape::Record(&HOOK)),
            "Commands that run inside before the container is stopped.",
        ),
        own::BANDWIDTH,
        own::CPU_BURST,
        own::CPU_IDLE,
        own::CPUS_EXCLUSIVE,
        own::CPUSET_MEMS,
        own::HUGETLB,
        own::MEM_HIGH,
        own::OOM,
        own::PROBE,
        own::ROOTFS,
        own::RUN,
        own::USERNS,
    ],
);

/// Networks of a service by name.
pub(crate) const NETWORKS: Shape = Shape::Names(&Shape::OrNull(&Shape::Record(&SERVICE_NETWORK)));
/// Models of a service by name.
pub(crate) const MODELS: Shape = Shape::Map(&Shape::OrNull(&Shape::Record(&SERVICE_MODEL)));
/// Dependencies by service.
pub(crate) const DEPENDENCIES: Shape = Shape::Names(&Shape::Record(&DEPENDENCY));
/// The long form of `build`.
pub(crate) const BUILD_LONG: Shape = Shape::Record(&BUILD);
