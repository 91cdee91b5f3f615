//! `compose config`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Checks the files and shows what they mean: Docker Compose's canonical model. Every error is shown at once, with its
/// place and a way out; with `--format json` as one JSON object a line on standard error
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of Docker Compose's")]
pub struct Config {
    /// Services to show, with what they depend on [default: all whose profiles are active]
    #[arg(value_name = "SERVICE")]
    pub services_wanted: Vec<String>,
    /// How to print: yaml, json [default: yaml]. With json, errors and warnings are JSON as well
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    pub format: Option<ConfigFormat>,
    /// Say behind every value in which file and line it is written, and how it came from there: through anchors,
    /// `extends`, `include` and variables. With `--format json`: an object from the path of every value to its place
    #[arg(long)]
    pub origins: bool,
    /// Only check
    #[arg(short, long)]
    pub quiet: bool,
    /// Print the names of services
    #[arg(long)]
    pub services: bool,
    /// Print the names of volumes
    #[arg(long)]
    pub volumes: bool,
    /// Print the names of networks
    #[arg(long)]
    pub networks: bool,
    /// Print the names of models
    #[arg(long)]
    pub models: bool,
    /// Print the names of profiles
    #[arg(long)]
    pub profiles: bool,
    /// Print the names of images
    #[arg(long)]
    pub images: bool,
    /// Print a hash of the configuration of these services, separated by commas, or of all: `*`
    #[arg(long, value_name = "SERVICES")]
    pub hash: Option<String>,
    /// Print the variables that the files use, with their defaults
    #[arg(long)]
    pub variables: bool,
    /// Print the variables that values are taken from
    #[arg(long)]
    pub environment: bool,
    /// Leave variables in place
    #[arg(long)]
    pub no_interpolate: bool,
    /// Do not fill in what the files leave open
    #[arg(long)]
    pub no_normalize: bool,
    /// Leave relative paths as they are
    #[arg(long)]
    pub no_path_resolution: bool,
    /// Do not check that what services refer to is there
    #[arg(long)]
    pub no_consistency: bool,
    /// Do not read the env files of services
    #[arg(long)]
    pub no_env_resolution: bool,
    /// Name images by the digests that registries have for them now
    #[arg(long)]
    pub resolve_image_digests: bool,
    /// Print a file to merge over these that pins every image to its digest
    #[arg(long)]
    pub lock_image_digests: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `config --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigFormat {
    Yaml,
    Json,
}
