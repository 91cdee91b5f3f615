//! The top level.

use super::{Field, Record, Shape};

/// The whole file.
pub(crate) static FILE: Record = Record {
    what: "the file",
    fields: &[
        Field::new("name", Shape::Text, "Name of the project."),
        Field::new(
            "services",
            Shape::Names(&Shape::Record(&super::service::SERVICE)),
            "The containers to run.",
        ),
    ],
    required: &[],
    extensible: true,
};
