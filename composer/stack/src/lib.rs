//! Reads Compose files: text to a checked [`Stack`], or every diagnostic at once, each with its place.
//!
//! The way of a file: text → spanned tree → interpolate → shape by the table ([`spec`]) → `extends`, `include` and
//! merge → normalize → check → print or lower. Places end here: a [`Stack`] holds final values alone. The environment
//! and the host's facts come in as arguments.

mod capabilities;
mod check;
mod command_line;
mod contents;
mod cpuset;
mod defaults;
mod devices;
mod diagnostic;
mod dotenv;
mod driver_options;
mod duration;
mod emit;
mod environment;
mod error;
mod extends;
mod files;
pub mod graph;
mod hash;
mod image;
mod images;
mod include;
mod interpolate;
mod keys;
mod limits;
mod links;
mod load;
mod loaded;
mod logging;
mod lower;
mod merge;
pub mod model;
mod name;
mod normalize;
mod options;
mod origins;
mod print;
mod profiles;
mod project;
mod rate;
mod read;
mod resolve;
mod restart;
mod schema;
mod security;
mod set;
mod shape;
mod shown;
pub mod signal;
mod size;
mod source;
mod spec;
mod stdin;
mod subnet;
mod suggest;
mod tmpfs;
mod tree;
mod values;
mod variables;
mod volume_options;
mod words;
mod yaml;

pub use capabilities::capability;
pub use check::same_address;
pub use command_line::{env_file, split_ports, split_words};
pub use diagnostic::{Diagnostic, Diagnostics, Link, Place, Related, Severity, one_line};
pub use error::LoadError;
pub use hash::{Changes, config_hash, sha256};
pub use images::ServiceImage;
pub use keys::NetworkKeys;
pub use limits::{MOST_PIDS, MOST_REPLICAS};
pub use load::{load, project_name_only};
pub use loaded::{Loaded, Variable};
pub use lower::PREDEFINED_NETWORKS;
pub use model::{
    AfterSync, Attachment, Bandwidth, BlockIo, CheckTimes, Condition, Content, Dependency, Device, DeviceIo,
    DeviceRequest, Driver, ExternalLink, ExtraHost, FileMount, GatewayMode, Healthcheck, Hook, HostAddress,
    Image, ImagePlace, ImageSource, ImageUse, IpNet, IpvlanFlag, IpvlanMode, Isolation, Logging, Mac,
    MacvlanMode, Mount, MountKind, MountOptions, Namespace, Network, NetworkMode, Oom, OomPolicy, Pool, Port,
    PortMode, PreStart, Probe, Propagation, Protocol, PullPolicy, Recursion, Requested, Resources, Restart,
    RestartPolicy, Rootfs, Run, Seccomp, Security, Service, ServiceLink, Stack, Test, Trigger, TriggerAction,
    Ulimit, Victim, Volume, VolumesFrom,
};
pub use options::{Block, HostFacts, Lacking, LoadOptions, Purpose};
pub use schema::schema;
pub use set::{Settable, Setting, bytes, cpu_list, oom_policy};
pub use shown::{LimitChange, ShownLimit, default_of, key_of, limits_of_stack};
pub use size::show as show_bytes;
pub use source::StepKind;
pub use stdin::Stdin;
pub use subnet::{hidden_by, unusable_subnet};
pub use suggest::known_services;
pub use variables::{json as variables_json, yaml as variables_yaml};
pub use volume_options::wrong_volume_options;
