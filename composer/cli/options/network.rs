//! `compose network`: networks that stacks share, with the flags of `docker network`.

use clap::{Args, Subcommand};
use composer_stack::IpNet;

use super::filter::{self, Filter};
use super::{InspectionFormat, ListingFormat};

/// `compose network`.
#[derive(Debug, Args)]
pub struct Network {
    #[command(subcommand)]
    pub verb: NetworkVerb,
}

#[derive(Debug, Subcommand)]
pub enum NetworkVerb {
    /// Make a network that stacks can share: `external: true` in their files
    Create(Box<NetworkCreate>),
    /// List the networks of this host
    #[command(visible_alias = "list")]
    Ls(NetworkLs),
    /// Remove networks that no container is on
    #[command(visible_alias = "remove")]
    Rm(NetworkRm),
    /// Show networks in full, as JSON
    Inspect(NetworkInspect),
    /// Remove networks of `create` that no stack is on
    Prune(NetworkPrune),
}

/// `compose network create`.
#[derive(Debug, Args)]
pub struct NetworkCreate {
    /// Its name
    #[arg(value_name = "NETWORK")]
    pub name: String,
    /// What makes it: a bridge of its own, or interfaces on one of the host's (`-o parent=eth0`)
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge", value_parser = ["bridge", "macvlan", "ipvlan"])]
    pub driver: String,
    /// An option of the driver
    #[arg(short, long = "opt", value_name = "KEY=VALUE", value_parser = pair)]
    pub options: Vec<(String, String)>,
    /// Its subnet, one of each address family at most [default: a free one]
    #[arg(long = "subnet", value_name = "SUBNET")]
    pub subnets: Vec<IpNet>,
    /// Where the way out of a subnet is: the bridge's own address in it [default: the first]
    #[arg(long = "gateway", value_name = "ADDRESS")]
    pub gateways: Vec<std::net::IpAddr>,
    /// The part of a subnet that containers get addresses from
    #[arg(long = "ip-range", value_name = "RANGE")]
    pub ranges: Vec<IpNet>,
    /// An address that nobody gets
    #[arg(long = "aux-address", value_name = "NAME=ADDRESS", value_parser = address)]
    pub aux_addresses: Vec<(String, std::net::IpAddr)>,
    /// Nothing outside of it is reached from it
    #[arg(long)]
    pub internal: bool,
    /// Let containers that `run` makes join it
    #[arg(long)]
    pub attachable: bool,
    /// Give it IPv4 addresses
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub ipv4: bool,
    /// Give it IPv6 addresses too
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub ipv6: bool,
    /// A label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
}

/// `compose network ls`.
#[derive(Debug, Args)]
pub struct NetworkLs {
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print ids in full
    #[arg(long)]
    pub no_trunc: bool,
    #[command(flatten)]
    pub format: ListingFormat,
    /// Filter by a property: `name=PART`, `id=PART`, `label=KEY` or `label=KEY=VALUE`, `driver=NAME`, `type=custom`
    /// (none is `builtin`), `scope=local`, `dangling=true` for those that no container is on
    #[arg(short, long, value_name = "FILTER", value_parser = filter::network)]
    pub filter: Vec<Filter>,
}

/// `compose network rm`.
#[derive(Debug, Args)]
pub struct NetworkRm {
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    pub names: Vec<String>,
    /// Do not fail for those that there are none of
    #[arg(short, long)]
    pub force: bool,
}

/// `compose network inspect`.
#[derive(Debug, Args)]
pub struct NetworkInspect {
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    pub names: Vec<String>,
    #[command(flatten)]
    pub format: InspectionFormat,
    /// Tell more of networks that span a cluster: there are none
    #[arg(short, long, hide = true)]
    pub verbose: bool,
}

/// `compose network prune`.
#[derive(Debug, Args)]
pub struct NetworkPrune {
    /// Only those with a label: `label=KEY`, `label=KEY=VALUE`, or without it: `label!=KEY`; or that were made before a time:
    /// `until=24h`
    #[arg(long, value_name = "FILTER", value_parser = filter::old_network)]
    pub filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() { Err("write `KEY=VALUE`".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

fn address(text: &str) -> Result<(String, std::net::IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("write `NAME=ADDRESS`")?;
    Ok((name.to_owned(), address.parse().map_err(|error| format!("{error}"))?))
}
