//! The mappings below a service, mounts and `deploy` aside.

use super::{Field, INT, OPTIONS, Print, Record, Shape, TEXTS};
use crate::merge::{Merge, by_key};
use crate::shape::{self, Conversion};
use crate::tree::default;
use crate::yaml::{Entry, Node};

/// `healthcheck`.
pub(crate) static HEALTHCHECK: Record = Record::new(
    "`healthcheck`",
    &[
        Field::new(
            "test",
            shape::TEST,
            "The command: a string for the shell, or a list that begins with `CMD`, `CMD-SHELL` or `NONE`.",
        )
        .merge(Merge::Replace),
        Field::new(
            "timeout",
            Shape::Duration,
            "After how long a run counts as failed; 30 seconds by default.",
        )
        .print(Print::Given),
        Field::new("interval", Shape::Duration, "How long to wait between runs; 30 seconds by default.")
            .print(Print::Given),
        Field::new(
            "retries",
            shape::RETRIES,
            "How many failures in a row make the container unhealthy; 3 by default.",
        )
        .print(Print::Given),
        Field::new("start_period", Shape::Duration, "How long failures do not count after the start.")
            .print(Print::Given),
        Field::new(
            "start_interval",
            Shape::Duration,
            "How long to wait between runs during the start period.",
        )
        .print(Print::Given),
        Field::new("disable", Shape::Bool, "Switches off the health check, also one of the image's own."),
    ],
);

/// `logging`.
pub(crate) static LOGGING: Record = Record::new(
    "`logging`",
    &[
        Field::new(
            "driver",
            Shape::Text,
            "Where output goes: `json-file`, `local`, `journald`, `none` and others.",
        ),
        Field::new(
            "options",
            Shape::Map(&Shape::TextOrNumberOrEmpty),
            "Options of the driver, such as `max-size`.",
        ),
    ],
);

/// An entry of `depends_on`.
pub(crate) static DEPENDENCY: Record = Record::new(
    "an entry of `depends_on`",
    &[
        Field::new(
            "condition",
            Shape::Word(&["service_started", "service_healthy", "service_completed_successfully"]),
            "What the other service must have reached before this one starts.",
        ),
        Field::new(
            "restart",
            Shape::Bool,
            "Restarts this service when the other one is restarted or replaced.",
        ),
        Field::new(
            "required",
            Shape::StrictBool,
            "Whether a missing or failed dependency stops this service.",
        )
        .print(Print::Given),
    ],
)
.required(&["condition"])
.fill(|map, span| {
    let required = || Entry { key: span, node: Node::bare(span.implied(), true) };
    map.entry("required".to_owned()).or_insert_with(required);
});

/// An entry of `networks`.
pub(crate) static SERVICE_NETWORK: Record = Record::new(
    "a network of a service",
    &[
        Field::new("aliases", TEXTS, "Further names of the service on this network.")
            .merge(Merge::Unique(by_key)),
        Field::new("driver_opts", OPTIONS, "Options that the network's driver takes for each container."),
        Field::new(
            "gw_priority",
            Shape::StrictNumber,
            "The network with the highest one gives the default route.",
        ),
        Field::new("interface_name", Shape::Text, "Name of the interface inside of the container."),
        Field::new("ipv4_address", Shape::Text, "Fixed IPv4 address; the network needs a subnet of its own."),
        Field::new("ipv6_address", Shape::Text, "Fixed IPv6 address; the network needs a subnet of its own."),
        Field::new("link_local_ips", TEXTS, "Link-local addresses.").merge(Merge::Unique(by_key)),
        Field::new("mac_address", shape::MAC_ADDRESS, "Hardware address of the interface."),
        Field::new(
            "priority",
            Shape::StrictNumber,
            "In which order networks are joined; the highest one first.",
        ),
    ],
);

/// An entry of `models` of a service.
pub(crate) static SERVICE_MODEL: Record = Record::new(
    "a model of a service",
    &[
        Field::new("endpoint_var", Shape::Text, "Environment variable that gets the model's URL."),
        Field::new("model_var", Shape::Text, "Environment variable that gets the model's name."),
    ],
);

/// The long form of an item of `ports`.
pub(crate) static PORT: Record = Record::new(
    "a port",
    &[
        Field::new("name", Shape::Text, "What the port is for, for people."),
        Field::new("mode", Shape::Text, "`ingress` or `host`: how a cluster publishes the port."),
        Field::new("host_ip", shape::IP, "Address of the host to listen on; all of them by default."),
        Field::new("target", Shape::Bounded(1, 65535), "Port inside of the container."),
        Field::new(
            "published",
            shape::PUBLISHED,
            "Port of the host, or a range of which a free one is taken.",
        ),
        Field::new("protocol", shape::PROTOCOL, "`tcp`, `udp` or `sctp`."),
        Field::new("app_protocol", Shape::Text, "What is spoken on the port, such as `http`, for people."),
    ],
)
.required(&["target"]);

/// The long form of an item of `devices`.
pub(crate) static DEVICE: Record = Record::new(
    "a device",
    &[
        Field::new("source", Shape::Text, "The device of the host: `/dev/ttyUSB0`."),
        Field::new("target", Shape::Text, "Where it is inside of the container."),
        Field::new(
            "permissions",
            Shape::Text,
            "What may be done with it: read (`r`), write (`w`), make (`m`).",
        ),
    ],
)
.required(&["source", "target"]);

/// The long form of an item of `configs` and `secrets`.
pub(crate) static FILE_MOUNT: Record = Record::new(
    "a file mount",
    &[
        Field::new("source", Shape::Text, "Its key at the top level."),
        Field::new(
            "target",
            Shape::Text,
            "Where it is inside of the container, or its name under `/run/secrets`.",
        ),
        Field::new("uid", Shape::Text, "Owner of the file, as a number."),
        Field::new("gid", Shape::Text, "Group of the file, as a number."),
        Field::new("mode", Shape::Mode, "Permission bits of the file, in octal.").print(Print::Given),
    ],
);

/// The long form of an item of `env_file`.
pub(crate) static ENV_FILE: Record = Record::new(
    "an entry of `env_file`",
    &[
        Field::new("path", Shape::Path, "Path of the file."),
        Field::new("required", Shape::Bool, "Whether it is an error that the file is not there.")
            .print(Print::Given),
        Field::new(
            "format",
            Shape::Text,
            "`raw`: values are taken as they are, without quotes and variables.",
        ),
    ],
)
.required(&["path"])
.closed();

/// The long form of `extends`.
pub(crate) static EXTENDS: Record = Record::new(
    "`extends`",
    &[
        Field::new(
            "file",
            shape::EXTENDS_FILE,
            "The file that the other service is in; this one by default.",
        ),
        Field::new("service", Shape::Text, "The service whose settings this one begins with."),
    ],
)
.required(&["service"])
.open();

/// One limit of `ulimits`.
pub(crate) const ULIMIT: Shape = Shape::Late(&Conversion {
    what: "a whole number, or a mapping with `soft` and `hard`",
    forms: &[INT],
    lengthen: shape::ulimit,
    long: Shape::Either(&INT, &Shape::Record(&ULIMITS)),
});

/// Both limits.
static ULIMITS: Record = Record::new(
    "a limit",
    &[
        Field::new("soft", INT, "The limit that holds, which a process may raise up to the hard one.")
            .print(Print::GivenInYaml),
        Field::new("hard", INT, "How far the soft limit can be raised.").print(Print::GivenInYaml),
    ],
)
.required(&["soft", "hard"]);

/// `blkio_config`.
pub(crate) static BLKIO: Record = Record::new(
    "`blkio_config`",
    &[
        Field::new(
            "weight",
            Shape::StrictInt(0, 1000),
            "Share of the disk's time, 10 to 1000; 500 is neutral.",
        ),
        Field::new("weight_device", Shape::List(&Shape::Record(&WEIGHT)), "The same for single devices."),
        Field::new("device_read_bps", Shape::List(&RATE), "Bytes that may be read each second, by device."),
        Field::new("device_read_iops", Shape::List(&RATE), "Reads that may be made each second, by device."),
        Field::new(
            "device_write_bps",
            Shape::List(&RATE),
            "Bytes that may be written each second, by device.",
        ),
        Field::new(
            "device_write_iops",
            Shape::List(&RATE),
            "Writes that may be made each second, by device.",
        ),
    ],
)
.closed();

static WEIGHT: Record = Record::new(
    "an entry of `weight_device`",
    &[
        Field::new("path", Shape::Text, "The device: `/dev/sda`.").print(Print::Named("Path")),
        Field::new("weight", Shape::StrictInt(0, 1000), "Its share, 10 to 1000.")
            .print(Print::Named("Weight")),
    ],
)
.closed()
.fill(|map, span| {
    default(map, "path", Node::text(span, ""));
    default(map, "weight", Node::bare(span, 0));
});

const RATE: Shape = Shape::Record(&THROTTLE);

static THROTTLE: Record = Record::new(
    "a limit of a device",
    &[
        Field::new("path", Shape::Text, "The device: `/dev/sda`.").print(Print::Named("Path")),
        Field::new("rate", Shape::Bytes, "How much each second.").print(Print::Named("Rate")),
    ],
)
.closed()
.fill(|map, span| {
    default(map, "path", Node::text(span, ""));
    default(map, "rate", Node::text(span, "0"));
});

/// An item of `post_start` and `pre_stop`.
pub(crate) static HOOK: Record = Record::new(
    "a hook",
    &[
        HOOK_COMMAND,
        Field::new("user", Shape::Text, "User that runs it; the service's own by default."),
        Field::new("privileged", Shape::Bool, "Runs it with all privileges."),
        Field::new("working_dir", Shape::Text, "Folder it runs in; the service's own by default."),
        Field::new("environment", shape::PAIRS_ONCE, "Environment variables, above the service's own.")
            .merge(Merge::Pairs),
    ],
)
.required(&["command"]);

const HOOK_COMMAND: Field =
    Field::new("command", shape::COMMAND, "Program that is run in the container, with its arguments.")
        .merge(Merge::Replace)
        .print(Print::NullInJson);

/// An item of `pre_start`.
pub(crate) static PRE_START: Record = Record::new(
    "a `pre_start` step",
    &[
        HOOK_COMMAND,
        Field::new("image", Shape::Text, "Image it runs in; the service's own by default."),
        Field::new("user", Shape::Text, "User that runs it."),
        Field::new("privileged", Shape::Bool, "Runs it with all privileges."),
        Field::new("working_dir", Shape::Text, "Folder it runs in."),
        Field::new("environment", shape::PAIRS_ONCE, "Environment variables, above the service's own.")
            .merge(Merge::Pairs),
        Field::new(
            "per_replica",
            Shape::Bool,
            "Runs it once for each container instead of once for the service.",
        ),
    ],
);

/// `develop`.
pub(crate) static DEVELOP: Record = Record::new(
    "`develop`",
    &[Field::new(
        "watch",
        Shape::List(&Shape::Record(&WATCH)),
        "Paths that are watched, and what is done when they change.",
    )],
);

static WATCH: Record = Record::new(
    "an entry of `watch`",
    &[
        Field::new("path", shape::WATCH_PATH, "File or folder that is watched.").print(Print::Given),
        Field::new(
            "action",
            Shape::Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
            "What is done when it changes.",
        )
        .print(Print::Given),
        Field::new("target", Shape::Text, "Where changed files are copied to inside of the container."),
        Field::new("exec", Shape::Record(&HOOK), "Command for `sync+exec`.").print(Print::EmptyInJson),
        Field::new("include", shape::TEXT_OR_SET, "Patterns of files that are watched."),
        Field::new("ignore", shape::TEXT_OR_SET, "Patterns of files that are not watched."),
        Field::new("initial_sync", Shape::StrictBool, "Copies everything once before watching."),
    ],
)
.required(&["path", "action"]);

/// `credential_spec`.
pub(crate) static CREDENTIAL_SPEC: Record = Record::new(
    "`credential_spec`",
    &[
        Field::new("config", Shape::Text, "The config that holds the credential specification."),
        Field::new("file", Shape::Text, "The file that holds it."),
        Field::new("registry", Shape::Text, "The value of the Windows registry that holds it."),
    ],
);

/// `provider`.
pub(crate) static PROVIDER: Record = Record::new(
    "`provider`",
    &[
        Field::new("type", Shape::Text, "The program that provides the service."),
        Field::new("options", Shape::Map(&shape::ONE_OR_MORE), "Options that are handed to it.")
            .merge(Merge::AsWritten)
            .print(Print::As(shape::shown_options)),
    ],
)
.required(&["type"]);

/// A list of tags, capabilities and the like, of which each counts once.
pub(crate) const KEYED: Merge = Merge::Unique(by_key);
