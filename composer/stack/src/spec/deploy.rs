//! `deploy`: what Swarm was made for, of which Compose honours replicas, resources and restarts.

use super::{COUNT, Field, Print, Record, SET, Shape, Support, TEXTS};
use crate::merge::Merge;
use crate::shape;
use crate::tree::default;
use crate::yaml::Node;

/// For what only a cluster can do.
const SWARM: Support = Support::Ignored("it is for clusters; Docker Compose ignores it too");
/// `deploy`.
pub(crate) static DEPLOY: Record = Record::new(
    "`deploy`",
    &[
        Field::new("mode", Shape::Text, "`replicated` or `global`: how a cluster places containers.")
            .support(SWARM),
        Field::new("replicas", shape::REPLICAS, "How many containers run.").print(Print::Given),
        Field::new(
            "labels",
            shape::LABELS,
            "Labels of the service in a cluster; containers do not get them.",
        )
        .merge(Merge::Pairs)
        .support(SWARM),
        Field::new("update_config", Shape::Record(&UPDATE), "How a cluster rolls a new version out.")
            .print(Print::Given)
            .support(SWARM),
        Field::new("rollback_config", Shape::Record(&UPDATE), "How a cluster goes back to the last version.")
            .print(Print::Given)
            .support(SWARM),
        Field::new(
            "resources",
            Shape::Record(&RESOURCES),
            "What each container may use at most and gets at least.",
        )
        .print(Print::EmptyInJson),
        Field::new(
            "restart_policy",
            Shape::Record(&RESTART),
            "When and how often a container that has ended is started again.",
        )
        .print(Print::Given),
        Field::new("placement", Shape::Record(&PLACEMENT), "Which nodes of a cluster containers run on.")
            .print(Print::EmptyInJson)
            .support(SWARM),
        Field::new("endpoint_mode", Shape::Text, "`vip` or `dnsrr`: how a cluster answers for the service.")
            .support(SWARM),
    ],
);

static RESOURCES: Record = Record::new(
    "`resources`",
    &[
        Field::new("limits", Shape::Record(&LIMITS), "What each container cannot exceed.")
            .print(Print::Given),
        Field::new(
            "reservations",
            Shape::Record(&RESERVATIONS),
            "What each container keeps when memory runs short.",
        )
        .print(Print::Given),
    ],
);

static LIMITS: Record = Record::new(
    "`limits`",
    &[
        Field::new("cpus", Shape::Float, "CPU time, in CPUs: `0.5`."),
        Field::new("memory", Shape::BytesText, "Most memory it may use: `64m`."),
        Field::new("pids", shape::WHOLE_PIDS, "Processes and threads; -1 is no limit."),
    ],
);

static RESERVATIONS: Record = Record::new(
    "`reservations`",
    &[
        Field::new("cpus", Shape::Float, "CPU time that a cluster keeps free, in CPUs."),
        Field::new("memory", Shape::BytesText, "Memory that is protected when the host runs short: `64m`."),
        Field::new(
            "devices",
            Shape::List(&Shape::Record(&DEVICES)),
            "Devices that their vendor describes in /etc/cdi or /var/run/cdi, such as GPUs.",
        ),
        Field::new(
            "generic_resources",
            Shape::List(&Shape::Record(&GENERIC)),
            "Resources that nodes of a cluster announce.",
        )
        .support(SWARM),
    ],
);

static DEVICES: Record = Record::new("a device reservation", REQUEST).required(&["capabilities"]);

/// An item of `gpus`.
pub(crate) static GPU: Record = Record::new("an entry of `gpus`", REQUEST).open();

const REQUEST: &[Field] = &[
    Field::new("capabilities", SET, "What the device must be able to do, such as `gpu`."),
    Field::new("driver", Shape::Text, "The driver that hands the device out, such as `nvidia`."),
    Field::new("count", shape::DEVICE_COUNT, "How many devices; -1 is all of them.")
        .print(Print::As(shape::shown_count)),
    Field::new("device_ids", SET, "The devices themselves, instead of a count."),
    Field::new("options", shape::LABELS_ONCE, "Options of the driver."),
];

static GENERIC: Record = Record::new(
    "a generic resource",
    &[Field::new("discrete_resource_spec", Shape::Record(&DISCRETE), "A resource that is counted.")
        .print(Print::Given)],
);

static DISCRETE: Record = Record::new(
    "`discrete_resource_spec`",
    &[
        Field::new("kind", Shape::Text, "What the resource is called.").print(Print::Given),
        Field::new("value", super::NUMBER, "How much of it.").print(Print::Given),
    ],
)
.fill(|map, span| {
    default(map, "kind", Node::text(span, ""));
    default(map, "value", Node::bare(span, 0));
});

static UPDATE: Record = Record::new(
    "an update policy",
    &[
        Field::new("parallelism", COUNT, "How many containers are replaced at once.").print(Print::Given),
        Field::new("delay", Shape::Duration, "How long to wait between them."),
        Field::new(
            "failure_action",
            Shape::Text,
            "What to do when it fails: `continue`, `pause` or `rollback`.",
        ),
        Field::new("monitor", Shape::Duration, "How long a new container is watched for failure."),
        Field::new("max_failure_ratio", Shape::Float, "What share of failures is tolerated."),
        Field::new(
            "order",
            Shape::Word(&["start-first", "stop-first"]),
            "Whether the new container starts before the old one stops.",
        ),
    ],
);

static RESTART: Record = Record::new(
    "`restart_policy`",
    &[
        Field::new(
            "condition",
            shape::RESTART_CONDITION,
            "`none`, `on-failure` or `any`, which is the default.",
        ),
        Field::new("delay", Shape::Duration, "How long to wait before the next try.").print(Print::Given),
        Field::new("max_attempts", COUNT, "How often to try before giving up.").print(Print::Given),
        Field::new("window", Shape::Duration, "After how long a start counts as a success.")
            .print(Print::Given),
    ],
);

static PLACEMENT: Record = Record::new(
    "`placement`",
    &[
        Field::new("constraints", TEXTS, "What must be true of a node: `node.role==manager`."),
        Field::new(
            "preferences",
            Shape::List(&Shape::Record(&PREFERENCE)),
            "How containers are spread over nodes.",
        ),
        Field::new("max_replicas_per_node", COUNT, "How many containers of the service a node runs at most."),
    ],
);

static PREFERENCE: Record = Record::new(
    "a placement preference",
    &[Field::new("spread", Shape::Text, "The label of nodes over whose values containers are spread.")],
);
