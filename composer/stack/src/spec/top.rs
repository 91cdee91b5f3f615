//! The top level, `include` and `models`.

use super::resources::{CONFIG, NETWORK, SECRET, VOLUME};
use super::service::SERVICE;
use super::{Field, Print, Record, Shape, Support, TEXTS, own};
use crate::shape;

/// The whole file.
pub(crate) static FILE: Record = Record::new(
    "the top level",
    &[
        Field::new("name", Shape::Text, "Name of the project, in front of every name on the host."),
        Field::new(
            "services",
            Shape::Names(&Shape::Record(&SERVICE)),
            "What runs: one entry for each kind of container.",
        )
        .print(Print::Given),
        Field::new(
            "networks",
            Shape::Map(&Shape::OrNull(&NETWORK)),
            "Networks that services join; `default` is there without being named.",
        ),
        Field::new(
            "volumes",
            Shape::Names(&Shape::OrNull(&VOLUME)),
            "Named volumes: data that outlives containers and can be shared by services.",
        ),
        Field::new(
            "secrets",
            Shape::Names(&SECRET),
            "Sensitive data that services get as files under `/run/secrets`.",
        ),
        Field::new(
            "configs",
            Shape::Names(&CONFIG),
            "Files that services get without building them into an image.",
        ),
        Field::new(
            "models",
            Shape::Map(&Shape::Record(&MODEL)),
            "Language models that services use, run by Docker's model runner.",
        )
        .print(Print::FilledInYaml)
        .support(Support::Refused("language models are run by Docker's model runner, which is not here")),
        Field::new(
            "include",
            Shape::List(&Shape::OrNull(&shape::INCLUDE)),
            "Other Compose files, whose services and resources become part of this project.",
        )
        .print(Print::Never),
        Field::new("version", Shape::Text, "Version of an older file format; it means nothing any more.")
            .print(Print::Never)
            .deprecated()
            .support(Support::Ignored("the file format has no versions any more: remove the line")),
        own::STACK_RESOURCES,
        own::STACK_OOM,
    ],
);

/// The long form of an item of `include`.
pub(crate) static INCLUDE: Record = Record::new(
    "an entry of `include`",
    &[
        Field::new(
            "path",
            shape::PATHS,
            "The file to include; of several, later ones are merged into the first.",
        ),
        Field::new(
            "project_directory",
            shape::PROJECT_DIRECTORY,
            "Folder where relative paths of the included file begin; its own folder where this is not given.",
        ),
        Field::new(
            "env_file",
            shape::PATHS,
            "Env files with the variables that the included file is interpolated with.",
        ),
    ],
)
.open();

static MODEL: Record = Record::new(
    "a model",
    &[
        Field::new("name", Shape::Text, "Name of the model, instead of its key."),
        Field::new("model", Shape::Text, "The model's reference, as an OCI artifact."),
        Field::new(
            "context_size",
            Shape::StrictInt(i64::MIN, i64::MAX),
            "How many tokens the model's context holds.",
        ),
        Field::new("runtime_flags", TEXTS, "Flags that are handed to the inference engine."),
    ],
)
.required(&["model"]);
