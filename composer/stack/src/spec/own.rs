//! Our own `x-` keys: what the Compose Specification cannot say.

use super::container::BLKIO;
use super::{COUNT, Field, INT, Print, Record, Shape, Support};
use crate::shape::{self, Conversion};

/// `x-resources`, at the top level: the parent cgroup.
pub(crate) const STACK_RESOURCES: Field = Field::new(
    "x-resources",
    Shape::Record(&RESOURCES),
    "Limits and reservations of the whole stack together, kept by a parent cgroup.",
)
.print(Print::Given);

static RESOURCES: Record = Record::new(
    "`x-resources`",
    &[
        Field::new("limits", Shape::Record(&LIMITS), "What all services together cannot exceed.")
            .print(Print::Given),
        Field::new(
            "reservations",
            Shape::Record(&RESERVATIONS),
            "What the stack keeps when the host runs short.",
        )
        .print(Print::Given),
    ],
);

static LIMITS: Record = Record::new(
    "`limits`",
    &[
        Field::new("cpus", Shape::Float, "CPU time of all services together, in CPUs."),
        Field::new("memory", Shape::Bytes, "Memory of all services together."),
        Field::new("pids", shape::PIDS, "Processes and threads of all services together; -1 is no limit."),
        Field::new("cpuset", shape::CPUSET, "CPUs that the processes of the stack may run on: `0-2,4`."),
        Field::new(
            "cpuset_mems",
            shape::CPUSET_MEMS,
            "Memory nodes that the memory of the stack may be on: `0-1`.",
        ),
        Field::new("swap", Shape::BytesOrMinusOne, "Swap of all services together; -1 is no limit."),
        Field::new("hugetlb", HUGE_PAGES, "Huge pages of all services together, by their size: `{2M: 64M}`."),
        Field::new(
            "io",
            Shape::Record(&BLKIO),
            "How fast all services together may read from and write to disks, as `blkio_config`.",
        )
        .print(Print::Given),
        Field::new(
            "bandwidth",
            Shape::Record(&RATES),
            "How fast all services together receive and send over their networks, to each other as well.",
        )
        .print(Print::Given),
    ],
);

static RESERVATIONS: Record = Record::new(
    "`reservations`",
    &[
        Field::new("cpus", Shape::Float, "CPU time that the stack's share is reckoned from, in CPUs."),
        Field::new("memory", Shape::Bytes, "Memory that is protected when the host runs short."),
    ],
);

/// `x-rootfs`.
pub(crate) const ROOTFS: Field = Field::new(
    "x-rootfs",
    shape::ROOTFS,
    "Runs the service without an image: on the `host`'s own programs or on a root folder, copy-on-write.",
)
.print(Print::Given);

/// `x-oom`.
pub(crate) const OOM: Field = Field::new(
    "x-oom",
    POLICY,
    "What happens when the service runs out of memory: kill it, pause it, or raise its limit.",
)
.print(Print::Given);

/// A policy's word, or what else there is to say of it.
const POLICY: Shape = Shape::Short(&Conversion {
    what: "a policy or a mapping",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(shape::keyed(node, "policy")),
    long: Shape::Record(&OOM_POLICY),
});

static OOM_POLICY: Record = Record::new(
    "`x-oom`",
    &[
        Field::new(
            "policy",
            Shape::Word(&["kill", "kill-group", "pause", "raise"]),
            "Kill one process, kill all of the container (which is the default), freeze it, or raise its memory limit.",
        ),
        Field::new("step", Shape::Bytes, "By how much `raise` lifts the limit each time."),
        Field::new("max", Shape::Bytes, "How far `raise` lifts the limit."),
        Field::new(
            "priority",
            INT,
            "Where the stack's `x-oom.victim` is `priority`: the lowest number goes first; 0 by default.",
        )
        .print(Print::Given),
        Field::new(
            "hook",
            shape::COMMAND,
            "Command that is run on the host, without a shell, each time that the policy has acted.",
        ),
    ],
);

/// `x-oom`, at the top level.
pub(crate) const STACK_OOM: Field = Field::new(
    "x-oom",
    Shape::Record(&STACK_OOM_POLICY),
    "What happens when the whole stack runs out of memory.",
)
.print(Print::Given);

static STACK_OOM_POLICY: Record = Record::new(
    "`x-oom`",
    &[
        Field::new(
            "victim",
            Shape::Word(&["priority", "biggest", "newest"]),
            "Which container is killed when the stack's limit is reached; the kernel chooses where this is not given.",
        ),
        Field::new(
            "policy",
            Shape::Word(&["kill", "kill-group", "pause"]),
            "The policy of services that have none of their own; `pause` is that of those with a limit of memory.",
        ),
    ],
);

/// `x-bandwidth`.
pub(crate) const BANDWIDTH: Field = Field::new(
    "x-bandwidth",
    Shape::Record(&RATES),
    "Limits how fast each container of the service receives and sends, over all its networks together.",
)
.print(Print::Given);

static RATES: Record = Record::new(
    "`x-bandwidth`",
    &[
        Field::new("ingress", shape::BIT_RATE, "How much it receives at most: `10mbit`."),
        Field::new("egress", shape::BIT_RATE, "How much it sends at most: `10mbit`."),
    ],
);

/// `x-probe`.
pub(crate) const PROBE: Field = Field::new(
    "x-probe",
    Shape::Record(&PROBES),
    "A health check made from outside, without a program inside of the container; all that are given must pass.",
)
.print(Print::Given);

static PROBES: Record = Record::new(
    "`x-probe`",
    &[
        Field::new("http", Shape::Record(&HTTP), "Healthy when an HTTP request is answered with success."),
        Field::new("tcp", Shape::Int(1, 65535), "Healthy when this port takes a connection."),
        Field::new("log", Shape::Text, "Healthy once a line of its log contains this."),
    ],
);

static HTTP: Record = Record::new(
    "`http`",
    &[
        Field::new("port", Shape::Int(1, 65535), "Port inside of the container."),
        Field::new("path", Shape::Text, "Path of the request; `/` where it is not given."),
    ],
)
.required(&["port"]);

/// `x-run`.
pub(crate) const RUN: Field = Field::new(
    "x-run",
    Shape::Word(&["always", "once"]),
    "`once`: a one-shot that succeeded with this configuration is not run again.",
)
.print(Print::Given);

/// `x-userns`.
pub(crate) const USERNS: Field = Field::new(
    "x-userns",
    Shape::Word(&["auto", "host"]),
    "`auto`: root inside of the container is nobody outside of it. What it mounts has its owners mapped: root's is root's \
     inside.",
)
.print(Print::Given);

/// `x-mem-high`.
pub(crate) const MEM_HIGH: Field = Field::new(
    "x-mem-high",
    Shape::Bytes,
    "Memory above which the service is slowed down and reclaimed from instead of killed.",
)
.print(Print::Given);

/// `x-cpu-burst`.
pub(crate) const CPU_BURST: Field = Field::new(
    "x-cpu-burst",
    COUNT,
    "Microseconds of unused CPU time that the service may save up for a burst.",
)
.print(Print::Given);

/// `x-cpu-idle`.
pub(crate) const CPU_IDLE: Field = Field::new(
    "x-cpu-idle",
    Shape::Bool,
    "The service runs only when nobody else wants a CPU; not beside `cpu_shares`.",
)
.print(Print::Given);

/// `x-cpus-exclusive`.
pub(crate) const CPUS_EXCLUSIVE: Field = Field::new(
    "x-cpus-exclusive",
    Shape::Int(1, 8192),
    "Whole cores that each container has while it runs: no other service of the stack and no other such service of the \
     host gets them.",
)
.print(Print::Given)
.support(Support::NotYet);

/// `x-cpuset-mems`.
pub(crate) const CPUSET_MEMS: Field = Field::new(
    "x-cpuset-mems",
    shape::CPUSET_MEMS,
    "Memory nodes that the container's memory may be on: `0-1`.",
)
.print(Print::Given);

/// `x-hugetlb`.
pub(crate) const HUGETLB: Field =
    Field::new("x-hugetlb", HUGE_PAGES, "Huge pages that the container may use, by their size: `{2M: 64M}`.")
        .print(Print::Given);

const HUGE_PAGES: Shape = Shape::Map(&Shape::Bytes);
