//! `build`.

use super::container::ULIMIT;
use super::{Field, Print, Record, Shape, Support, TEXTS};
use crate::merge::{Merge, by_key, hosts};
use crate::shape;

const CACHE: Support = Support::Ignored("images are built without a remote cache");

/// The long form.
pub(crate) static BUILD: Record = Record::new(
    "`build`",
    &[
        Field::new("context", shape::CONTEXT, "Folder that the Dockerfile copies from, or the URL of one."),
        Field::new("dockerfile", Shape::Text, "Path of the Dockerfile, which begins at the context."),
        Field::new("dockerfile_inline", Shape::Text, "The Dockerfile itself, instead of a path."),
        Field::new("entitlements", TEXTS, "Privileges that the build asks for, such as `network.host`."),
        Field::new("args", shape::PAIRS, "Values for the `ARG`s of the Dockerfile.").merge(Merge::Pairs),
        Field::new("provenance", shape::STRING_OR_X, "Adds an attestation of how the image was built.")
            .support(Support::Ignored("no attestations are made")),
        Field::new("sbom", shape::STRING_OR_X, "Adds a list of what the image is made of.")
            .support(Support::Ignored("no attestations are made")),
        Field::new("ssh", shape::SSH, "SSH agent sockets or keys for `RUN --mount=type=ssh`.")
            .print(Print::As(shape::shown_ssh)),
        Field::new("labels", shape::LABELS, "Labels of the image.").merge(Merge::Pairs),
        Field::new("cache_from", TEXTS, "Images and caches that layers may be taken from.").support(CACHE),
        Field::new("cache_to", TEXTS, "Where layers are stored for later builds.").support(CACHE),
        Field::new("no_cache", Shape::Bool, "Builds every step anew."),
        Field::new("no_cache_filter", shape::TEXT_OR_SET, "Stages that are built anew."),
        Field::new(
            "additional_contexts",
            shape::CONTEXTS,
            "Further contexts by name: folders, URLs, images, other services.",
        ),
        Field::new("pull", Shape::Bool, "Looks for newer base images even where they are there."),
        Field::new("extra_hosts", shape::HOSTS, "Names and addresses for `/etc/hosts` while building.")
            .merge(Merge::Own(hosts)),
        Field::new("isolation", Shape::Text, "How builds on Windows are isolated.")
            .support(Support::Ignored("it is for Windows alone")),
        Field::new("network", Shape::Text, "Network while building: `default`, `host` or `none`."),
        Field::new("target", Shape::Text, "The stage of the Dockerfile to stop at."),
        Field::new("secrets", Shape::List(&shape::FILE_MOUNT), "Secrets for `RUN --mount=type=secret`."),
        Field::new("shm_size", Shape::Bytes, "Size of `/dev/shm` while building."),
        Field::new("tags", TEXTS, "Further names for the image.").merge(Merge::Unique(by_key)),
        Field::new("ulimits", Shape::Map(&ULIMIT), "Limits of processes while building.").merge(Merge::Pairs),
        Field::new("platforms", TEXTS, "Platforms to build for: `linux/amd64`."),
        Field::new("privileged", Shape::Bool, "Builds with all privileges."),
    ],
);
