//! A service.

use super::{Field, Print, Record, Shape};
use crate::merge::Merge;
use crate::shape;

pub(crate) static SERVICE: Record = Record {
    what: "a service",
    fields: &[
        Field::new("build", shape::TEXT_OR_TEXTS, "How to build the image."),
        Field::new("environment", shape::PAIRS, "Environment variables.").merge(Merge::Pairs),
        Field::new("init", Shape::Bool, "Runs a small init as PID 1.").print(Print::Given),
        Field::new("stop_grace_period", Shape::Duration, "How long a container has to stop."),
    ],
    required: &[],
    extensible: true,
};
