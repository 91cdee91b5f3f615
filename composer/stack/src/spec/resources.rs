//! Networks, volumes, configs and secrets at the top level.

use super::{Field, OPTIONS, Print, Record, STRINGS, Shape, Support};
use crate::merge::{Merge, ipam_pools};
use crate::shape::{self, Conversion};

/// A network.
pub(crate) const NETWORK: Shape = Shape::Short(&Conversion {
    what: "a mapping",
    forms: &[],
    lengthen: shape::external,
    long: Shape::Record(&NETWORK_RECORD),
});

/// A volume.
pub(crate) const VOLUME: Shape = Shape::Short(&Conversion {
    what: "a mapping",
    forms: &[],
    lengthen: shape::volume_resource,
    long: Shape::Record(&VOLUME_RECORD),
});

/// A secret.
pub(crate) const SECRET: Shape = Shape::Short(&Conversion {
    what: "a mapping",
    forms: &[],
    lengthen: shape::external,
    long: Shape::Record(&SECRET_RECORD),
});

/// A config.
pub(crate) const CONFIG: Shape = Shape::Short(&Conversion {
    what: "a mapping",
    forms: &[],
    lengthen: shape::external,
    long: Shape::Record(&CONFIG_RECORD),
});

/// `true`, or a name, as it was once written: [`shape::external`] makes the one of the other.
const EXTERNAL: Shape = Shape::Short(&Conversion {
    what: "true or false",
    forms: &[Shape::Record(&OLD_EXTERNAL)],
    lengthen: |node, _, _| Some(node),
    long: Shape::Bool,
});

static OLD_EXTERNAL: Record = Record::new(
    "`external`",
    &[Field::new("name", Shape::Text, "The name, which is written beside `external: true` now.")
        .deprecated()],
);

static NETWORK_RECORD: Record = Record::new(
    "a network",
    &[
        Field::new("name", Shape::Text, "Name on the host, instead of the project's name and the key."),
        Field::new("driver", Shape::Text, "What makes the network: `bridge` is what is there."),
        Field::new("driver_opts", OPTIONS, "Options of the driver, such as the bridge's name or the MTU."),
        Field::new("ipam", Shape::Record(&IPAM), "How addresses are given out: subnets, ranges, gateways.")
            .print(Print::EmptyInJson),
        Field::new("external", EXTERNAL, "The network is there already; it is neither made nor removed."),
        Field::new("internal", Shape::Bool, "Nothing outside of the network can be reached from it."),
        Field::new(
            "attachable",
            Shape::Bool,
            "Containers from elsewhere may join a network that spans hosts.",
        ),
        Field::new("labels", shape::LABELS, "Labels of the network.").merge(Merge::Pairs),
        Field::new("enable_ipv4", Shape::Bool, "Gives the network IPv4 addresses, which it has by default.")
            .print(Print::Given),
        Field::new("enable_ipv6", Shape::Bool, "Gives the network IPv6 addresses too.").print(Print::Given),
    ],
);

static IPAM: Record = Record::new(
    "`ipam`",
    &[
        Field::new("driver", Shape::Text, "What gives addresses out; `default` is what is there."),
        Field::new(
            "config",
            Shape::List(&Shape::Record(&POOL)),
            "The subnets, one of each address family at most.",
        )
        .merge(Merge::Own(ipam_pools)),
        Field::new("options", STRINGS, "Options of the driver.").print(Print::Untyped),
    ],
);

static POOL: Record = Record::new(
    "a subnet of `ipam`",
    &[
        Field::new("subnet", Shape::Text, "The subnet with its length: `172.28.0.0/16`."),
        Field::new("gateway", Shape::Text, "The bridge's own address in the subnet."),
        Field::new("ip_range", Shape::Text, "The part of the subnet that containers get addresses from."),
        Field::new("aux_addresses", STRINGS, "Addresses that are left free, each under a name."),
    ],
);

static VOLUME_RECORD: Record = Record::new(
    "a volume",
    &[
        Field::new(
            "name",
            shape::VOLUME_NAME,
            "Name on the host, instead of the project's name and the key.",
        ),
        Field::new("driver", Shape::Text, "What keeps the data: `local` is what is there."),
        Field::new(
            "driver_opts",
            OPTIONS,
            "Options of the driver; those of `local` are mount's `type`, `o` and `device`.",
        ),
        Field::new("external", EXTERNAL, "The volume is there already; it is neither made nor removed."),
        Field::new("labels", shape::LABELS_ONCE, "Labels of the volume.").merge(Merge::Pairs),
    ],
);

static SECRET_RECORD: Record = Record::new(
    "a secret",
    &[
        Field::new("name", Shape::Text, "Name of the secret, instead of the project's name and the key."),
        Field::new("file", shape::MOUNT_PATH, "File of the host that holds the secret."),
        Field::new("environment", Shape::Text, "Environment variable that holds the secret."),
        Field::new("external", EXTERNAL, "The secret is kept elsewhere, under its name."),
        Field::new("labels", shape::LABELS_ONCE, "Labels of the secret.")
            .support(Support::Ignored("nothing shows them")),
        Field::new("driver", Shape::Text, "Driver of a store of secrets; Docker Compose has none either.")
            .support(Support::Refused("there is no store of secrets")),
        Field::new("driver_opts", OPTIONS, "Options of the driver.")
            .support(Support::Refused("there is no store of secrets")),
        Field::new(
            "template_driver",
            Shape::Text,
            "Driver that fills in a template; Docker Compose has none either.",
        )
        .support(Support::Refused("nothing fills in templates")),
    ],
);

static CONFIG_RECORD: Record = Record::new(
    "a config",
    &[
        Field::new("name", Shape::Text, "Name of the config, instead of the project's name and the key."),
        Field::new("file", shape::MOUNT_PATH, "File of the host that holds the config."),
        Field::new("environment", Shape::Text, "Environment variable that holds the config."),
        Field::new("content", Shape::Text, "The config itself; variables in it are replaced."),
        Field::new("external", EXTERNAL, "The config is kept elsewhere, under its name."),
        Field::new("labels", shape::LABELS_ONCE, "Labels of the config.")
            .support(Support::Ignored("nothing shows them")),
        Field::new(
            "template_driver",
            Shape::Text,
            "Driver that fills in a template; Docker Compose has none either.",
        )
        .support(Support::Refused("nothing fills in templates")),
    ],
);
