//! `compose volume`: the volumes of this host, with the flags of `docker volume`; and `compose volumes`.

use clap::{Args, Subcommand};

use super::ListFormat;
use super::network::pair;

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
}

/// `compose volume ls`.
#[derive(Debug, Args)]
pub struct VolumeLs {
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Filter by a property: `name=PART`, `label=KEY` or `label=KEY=VALUE`, `driver=NAME`, `dangling=true` for those that no
    /// container has
    #[arg(short, long, value_name = "FILTER", value_parser = filter)]
    pub filter: Vec<VolumeFilter>,
}

/// `compose volume prune`.
#[derive(Debug, Args)]
pub struct VolumePrune {
    /// Those with a name too, not only those that nobody has named
    #[arg(short, long)]
    pub all: bool,
    /// Only those with a label: `label=KEY`, `label=KEY=VALUE`, or without it: `label!=KEY`
    #[arg(long, value_name = "FILTER", value_parser = label_filter)]
    pub filter: Vec<VolumeFilter>,
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
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
}

/// What volumes are chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeFilter {
    /// A part of the name.
    Name(String),
    /// The driver.
    Driver(String),
    /// A label, with its value where that counts; whether it is to be there.
    Label(String, Option<String>, bool),
    /// Whether no container has it.
    Dangling(bool),
}

fn filter(text: &str) -> Result<VolumeFilter, String> {
    match text.split_once('=') {
        Some(("name", part)) => Ok(VolumeFilter::Name(part.to_owned())),
        Some(("driver", name)) => Ok(VolumeFilter::Driver(name.to_owned())),
        Some(("dangling", "true" | "1")) => Ok(VolumeFilter::Dangling(true)),
        Some(("dangling", "false" | "0")) => Ok(VolumeFilter::Dangling(false)),
        Some(("label", _)) => label_filter(text),
        _ => Err("write `name=PART`, `label=KEY`, `driver=NAME` or `dangling=true`".to_owned()),
    }
}

fn label_filter(text: &str) -> Result<VolumeFilter, String> {
    label(text).map(|(key, value, is_there)| VolumeFilter::Label(key, value, is_there))
}

/// `label=KEY`, `label=KEY=VALUE`, or `label!=` for those that do not have it.
pub(super) fn label(text: &str) -> Result<(String, Option<String>, bool), String> {
    let (label, is_there) = match (text.strip_prefix("label="), text.strip_prefix("label!=")) {
        (Some(label), _) => (label, true),
        (None, Some(label)) => (label, false),
        (None, None) => return Err("write `label=KEY`, `label=KEY=VALUE` or `label!=KEY`".to_owned()),
    };
    let (key, value) = match label.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (label, None),
    };
    Ok((key.to_owned(), value, is_there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let label = |value: Option<&str>, is_there| {
            VolumeFilter::Label("a".to_owned(), value.map(str::to_owned), is_there)
        };
        for (text, expected) in [
            ("name=x", VolumeFilter::Name("x".to_owned())),
            ("dangling=1", VolumeFilter::Dangling(true)),
            ("label=a", label(None, true)),
            ("label=a=b=c", label(Some("b=c"), true)),
        ] {
            assert_eq!(filter(text), Ok(expected), "{text}");
        }
        assert_eq!(label_filter("label!=a=b"), Ok(label(Some("b"), false)));
        assert!(
            filter("size=1").is_err() && filter("dangling=x").is_err() && label_filter("name=a").is_err()
        );
    }
}
