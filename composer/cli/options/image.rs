//! Images: `pull`, `images`, and `image` with the flags of `docker image`; `login` and `logout`.

use clap::{Args, Subcommand, ValueEnum};

use super::{InspectionFormat, ListFormat, ListingFormat};

/// `compose pull`.
#[derive(Debug, Args)]
pub struct PullImages {
    /// Services whose images are pulled [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Pull nothing of services whose image can be built
    #[arg(long)]
    pub ignore_buildable: bool,
    /// Pull what can be pulled, and do not fail for the rest
    #[arg(long)]
    pub ignore_pull_failures: bool,
    /// Pull for what the services depend on, too
    #[arg(long)]
    pub include_deps: bool,
    /// When to pull, in place of the services' `pull_policy`
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<PullWhen>,
    /// Say nothing of what is pulled
    #[arg(short, long)]
    pub quiet: bool,
    /// All are always pulled at once
    #[arg(long, hide = true)]
    pub parallel: bool,
    /// All are always pulled at once
    #[arg(long, hide = true)]
    pub no_parallel: bool,
    /// Print what would be pulled and do nothing
    #[arg(long, hide = true)]
    pub dry_run: bool,
}

/// `pull --policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PullWhen {
    Missing,
    Always,
}

/// `compose images`.
#[derive(Debug, Args)]
pub struct Images {
    /// Services whose images are listed [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table", ignore_case = true)]
    pub format: ListFormat,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// `compose image`.
#[derive(Debug, Args)]
pub struct Image {
    #[command(subcommand)]
    pub verb: ImageVerb,
}

#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// List the images of this host
    #[command(visible_alias = "list")]
    Ls(ImageLs),
    /// Pull images by their names
    Pull(ImagePull),
    /// Push images to the registries of their names
    Push(ImagePush),
    /// Give an image one more name
    Tag(ImageTag),
    /// Remove images that no container stands on
    #[command(visible_alias = "remove")]
    Rm(ImageRm),
    /// Remove what no name leads to; with -a, every image that no container stands on
    Prune(ImagePrune),
    /// Show images in full, as JSON
    Inspect(ImageInspect),
}

/// `compose image ls`.
#[derive(Debug, Args)]
pub struct ImageLs {
    /// Images of this repository, or of this name and tag, only
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
    /// List intermediate images, too: there are none
    #[arg(short, long, hide = true)]
    pub all: bool,
    /// Show digests
    #[arg(long)]
    pub digests: bool,
    /// Filter by a property: `reference=PATTERN`, `label=KEY[=VALUE]`, `until=TIME`, `dangling=BOOL`
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    #[command(flatten)]
    pub format: ListingFormat,
    /// Print ids in full
    #[arg(long)]
    pub no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// `compose image pull`.
#[derive(Debug, Args)]
pub struct ImagePull {
    /// Names, or `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// For this platform [env: DOCKER_DEFAULT_PLATFORM] [default: the host's own]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Say nothing but the names
    #[arg(short, long)]
    pub quiet: bool,
}

/// `compose image push`.
#[derive(Debug, Args)]
pub struct ImagePush {
    /// Names
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// For this platform [default: the host's own]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Say nothing but the digests
    #[arg(short, long)]
    pub quiet: bool,
}

/// `compose image tag`.
#[derive(Debug, Args)]
pub struct ImageTag {
    /// A name or an id
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The new name
    #[arg(value_name = "TARGET")]
    pub target: String,
}

/// `compose push`.
#[derive(Debug, Args)]
pub struct PushImages {
    /// Services whose images are pushed [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Push what can be pushed, and do not fail for the rest
    #[arg(long)]
    pub ignore_push_failures: bool,
    /// Push for what the services depend on, too
    #[arg(long)]
    pub include_deps: bool,
    /// Say nothing of what is pushed
    #[arg(short, long)]
    pub quiet: bool,
    /// Print what would be pushed and do nothing
    #[arg(long, hide = true)]
    pub dry_run: bool,
}

/// `compose image rm`.
#[derive(Debug, Args)]
pub struct ImageRm {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Take the name away though containers stand on the image, and do not fail for images that are not there
    #[arg(short, long)]
    pub force: bool,
    /// Keep parents that have no name: there are none
    #[arg(long, hide = true)]
    pub no_prune: bool,
}

/// `compose image prune`.
#[derive(Debug, Args)]
pub struct ImagePrune {
    /// Remove all images that no container stands on
    #[arg(short, long)]
    pub all: bool,
    /// Filter by a property: `until=TIME`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// `compose image inspect`.
#[derive(Debug, Args)]
pub struct ImageInspect {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    #[command(flatten)]
    pub format: InspectionFormat,
}
