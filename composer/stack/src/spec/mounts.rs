//! The long form of an item of `volumes`.

use super::{Field, Print, Record, Shape, Support};
use crate::shape;

/// A mount.
pub(crate) static MOUNT: Record = Record::new(
    "a mount",
    &[
        Field::new(
            "type",
            Shape::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
            "What is mounted: a path of the host, a volume, memory and others.",
        ),
        Field::new("source", Shape::Text, "The path of the host, the volume's key, or the image."),
        Field::new("target", Shape::Text, "Absolute path inside of the container."),
        Field::new("read_only", Shape::Bool, "Nothing can be written through the mount."),
        Field::new("consistency", Shape::Text, "How soon changes show on macOS.")
            .support(Support::Ignored("it is for macOS alone")),
        Field::new("bind", Shape::Record(&BIND), "Options of a `bind` mount.").print(Print::Given),
        Field::new("volume", Shape::Record(&VOLUME), "Options of a `volume` mount.").print(Print::Given),
        Field::new("tmpfs", Shape::Record(&TMPFS), "Options of a `tmpfs` mount.").print(Print::Given),
        Field::new("image", Shape::Record(&IMAGE), "Options of an `image` mount.").print(Print::Given),
    ],
)
.required(&["type", "target"]);

static BIND: Record = Record::new(
    "`bind`",
    &[
        Field::new(
            "selinux",
            Shape::Word(&["z", "Z"]),
            "Relabels the source for SELinux: shared (`z`) or private (`Z`).",
        ),
        Field::new("propagation", Shape::Text, "How mounts below it pass between host and container."),
        Field::new("create_host_path", Shape::Bool, "Makes the source as a folder where it is missing."),
        Field::new(
            "recursive",
            Shape::Word(&["enabled", "disabled", "writable", "readonly"]),
            "Whether mounts below the source come along, and whether they are read-only too.",
        ),
    ],
);

static VOLUME: Record = Record::new(
    "`volume`",
    &[
        Field::new("labels", shape::LABELS_ONCE, "Labels of a volume that is made for this mount."),
        Field::new(
            "nocopy",
            Shape::Bool,
            "A new volume stays empty instead of getting what the image has there.",
        ),
        Field::new("subpath", Shape::Text, "The folder of the volume that is mounted, instead of all of it."),
    ],
);

static TMPFS: Record = Record::new(
    "`tmpfs`",
    &[
        Field::new("size", shape::TMPFS_SIZE, "How much it holds at most."),
        Field::new("mode", shape::TMPFS_MODE, "Permission bits of its root, in octal."),
    ],
);

static IMAGE: Record = Record::new(
    "`image`",
    &[Field::new("subpath", Shape::Text, "The folder of the image that is mounted, instead of all of it.")],
);
