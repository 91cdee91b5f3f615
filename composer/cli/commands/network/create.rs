//! `compose network create`.

use std::collections::BTreeMap;

use composer_stack::{Driver, IpNet, Network, PREDEFINED_NETWORKS, Pool, hidden_by, unusable_subnet};
use composer_supervisor::host::networks;

use super::super::context::Context;
use super::super::{Error, Result};
use crate::options::NetworkCreate;

/// Makes the record, and prints its id.
pub fn run(context: &mut Context, verb: NetworkCreate) -> Result {
    let network = network(verb).map_err(Error::Usage)?;
    let is_bridge = network.driver == Driver::Bridge;
    let parts = network.ipam.iter().filter(|_| is_bridge).map(|pool| pool.subnet);
    let parts: Vec<_> = parts.filter_map(|subnet| Some((subnet, networks::route_around(subnet)?))).collect();
    let id = networks::create(network)?;
    for (subnet, route) in parts {
        let (what, help) = hidden_by(subnet, route);
        context.out.warning(&format!("{what}; {help}"));
    }
    context.out.data(format!("{id}\n").as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

fn network(verb: NetworkCreate) -> std::result::Result<Network, String> {
    let is_name = verb.name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && verb.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !is_name {
        let (name, what) =
            (&verb.name, "letters, digits, `_`, `.` and `-`, beginning with a letter or digit");
        return Err(format!("`{name}` is not a name of a network: {what}"));
    }
    if PREDEFINED_NETWORKS.contains(&verb.name.as_str()) {
        return Err(format!(
            "`{}` is what Docker calls a network of every host: choose another name",
            verb.name
        ));
    }
    if !verb.ipv4 && !verb.ipv6 {
        return Err("a network needs IPv4 or IPv6: give it `--ipv6`, or leave `--ipv4=false` out".to_owned());
    }
    let options: BTreeMap<String, String> = verb.options.into_iter().collect();
    // As Docker has it, a subnet of IPv6 alone does not turn it on; nobody means that.
    let ipv6 = verb.ipv6 || verb.subnets.iter().any(|subnet| subnet.addr().is_ipv6());
    let mut network = Network::with_options(&verb.name, &verb.driver, options, (ipv6, verb.internal))?;
    let mut pools: Vec<Pool> = Vec::new();
    for subnet in verb.subnets {
        has_no_rest("--subnet", subnet)?;
        if let Some((why, help)) = unusable_subnet(subnet) {
            return Err(format!("{why}: {help}"));
        }
        let is_v4 = |net: IpNet| net.addr().is_ipv4();
        if pools.iter().any(|pool| is_v4(pool.subnet) == is_v4(subnet)) {
            return Err(format!("{subnet}: a network has one subnet of each address family"));
        }
        pools.push(Pool { subnet, gateway: None, ip_range: None, aux_addresses: BTreeMap::new() });
    }
    let missing =
        |what: &dyn std::fmt::Display| format!("no subnet that was given contains {what}: add `--subnet`");
    for gateway in verb.gateways {
        let pool = pools.iter_mut().find(|pool| pool.subnet.contains(&gateway));
        pool.ok_or_else(|| missing(&gateway))?.gateway = Some(gateway);
    }
    for range in verb.ranges {
        let pool = pools.iter_mut().find(|pool| pool.subnet.contains(&range));
        has_no_rest("--ip-range", range)?;
        pool.ok_or_else(|| missing(&range))?.ip_range = Some(range);
    }
    for (name, address) in verb.aux_addresses {
        let pool = pools.iter_mut().find(|pool| pool.subnet.contains(&address));
        pool.ok_or_else(|| missing(&address))?.aux_addresses.insert(name, address);
    }
    network.ipv4 = verb.ipv4;
    network.ipam = pools;
    network.attachable = verb.attachable;
    network.labels = verb.labels.into_iter().collect();
    Ok(network)
}

/// As in a file, and in Docker.
fn has_no_rest(flag: &str, net: IpNet) -> std::result::Result<(), String> {
    if net == net.trunc() {
        return Ok(());
    }
    Err(format!("`{flag} {net}` has bits set beyond its prefix: write `{}`", net.trunc()))
}
