//! Reads Compose files: text to a checked [`Stack`], or every diagnostic at once, each with its place.
//!
//! The way of a file: text → spanned tree → interpolate → merge → decode → check. Places end here: a
//! [`Stack`] holds final values alone. The environment and the host's facts come in as arguments.

mod canonical;
mod check;
mod cpuset;
mod decode;
mod diagnostic;
mod dotenv;
mod duration;
mod emit;
mod error;
mod files;
mod hash;
mod interpolate;
mod keys;
mod load;
mod loaded;
mod lower;
mod merge;
pub mod model;
mod name;
mod old_check;
mod old_lower;
mod old_merge;
mod options;
mod print;
mod shape;
mod signal;
mod size;
mod source;
mod spec;
mod suggest;
mod words;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Link, Place, Related, Severity};
pub use error::LoadError;
pub use hash::config_hash;
pub use load::{load, project_name_only};
pub use loaded::{Loaded, Origin, OriginStep, StepKind, Variable};
pub use model::{
    Condition, Dependency, Healthcheck, Mount, MountKind, Resources, Rootfs, Service, Stack, Volume,
};
pub use options::{HostFacts, LoadOptions, Purpose};
pub use source::Source;
