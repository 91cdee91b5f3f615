//! `compose volume`: the volumes of this host, with the flags of `docker volume`; and `compose volumes`.

use clap::{Args, Subcommand};

use super::filter::{self, Filter};
use super::network::pair;
use super::{InspectionFormat, ListingFormat};

/// `compose volume`.
#[derive(Debug, Args)]
pub struct Volume {
    #[command(subcommand)]
    pub verb: VolumeVerb,
}

#[derive(Debug, Subcommand)]
pub enum VolumeVerb {
    /// Make a volume that stacks can share: `external: true` in their files
    Create(VolumeCreate),
    /// Show volumes in full, as JSON
    Inspect(VolumeInspect),
    /// List the volumes of this host
    #[command(visible_alias = "list")]
    Ls(VolumeLs),
    /// Remove volumes that no container has
    Prune(VolumePrune),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(VolumeRm),
}

/// `compose volume create`.
#[derive(Debug, Args)]
pub struct VolumeCreate {
    /// Its name [default: one that nobody else has]
    #[arg(value_name = "VOLUME")]
    pub name: Option<String>,
    /// What keeps the data
    #[arg(short, long, value_name = "DRIVER", default_value = "local", value_parser = ["local"])]
    pub driver: String,
    /// An option of the driver: `type`, `o` and `device` of what is mounted in its place, as mount(8) has them
    #[arg(short, long = "opt", value_name = "KEY=VALUE", value_parser = pair)]
    pub options: Vec<(String, String)>,
    /// A label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
}

/// `compose volume inspect`.
#[derive(Debug, Args)]
pub struct VolumeInspect {
    /// Their names
    #[arg(value_name = "VOLUME", required = true)]
    pub names: Vec<String>,
    #[command(flatten)]
    pub format: InspectionFormat,
}

/// `compose volume ls`.
#[derive(Debug, Args)]
pub struct VolumeLs {
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub format: ListingFormat,
    /// Filter by a property: `name=PART`, `label=KEY` or `label=KEY=VALUE`, `driver=NAME`, `dangling=true` for those that no
    /// container has
    #[arg(short, long, value_name = "FILTER", value_parser = filter::volume)]
    pub filter: Vec<Filter>,
}

/// `compose volume prune`.
#[derive(Debug, Args)]
pub struct VolumePrune {
    /// Those with a name too, not only those that nobody has named
    #[arg(short, long)]
    pub all: bool,
    /// Only those with a label: `label=KEY`, `label=KEY=VALUE`, or without it: `label!=KEY`
    #[arg(long, value_name = "FILTER", value_parser = filter::label_alone)]
    pub filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// `compose volume rm`.
#[derive(Debug, Args)]
pub struct VolumeRm {
    /// Their names
    #[arg(value_name = "VOLUME", required = true)]
    pub names: Vec<String>,
    /// Do not fail for those that there are none of
    #[arg(short, long)]
    pub force: bool,
}

/// `compose volumes`.
#[derive(Debug, Args)]
pub struct Volumes {
    /// Services whose containers' volumes are listed [default: all volumes of the stack]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub format: ListingFormat,
}
