//! `compose network inspect`: what `docker network inspect` prints.

use std::collections::BTreeMap;

use composer_supervisor::host::networks::{self, Endpoint, Shown};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::filtered::SCOPE;
use super::super::{Error, Result, inspecting};
use super::driver;
use crate::options::NetworkInspect;
use crate::time;

/// One network, with Docker's keys in Docker's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Value,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: Value,
    config_only: bool,
    containers: BTreeMap<String, Value>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// What all of Docker's fields are like, in their order.
const EXAMPLE: &str = r#"{
    "Name": "", "Id": "", "Created": "", "Scope": "", "Driver": "", "EnableIPv4": false, "EnableIPv6": false,
    "IPAM": {
        "Driver": "", "Options": {},
        "Config": [{ "Subnet": "", "IPRange": "", "Gateway": "", "AuxiliaryAddresses": {} }]
    },
    "Internal": false, "Attachable": false, "Ingress": false, "ConfigFrom": { "Network": "" }, "ConfigOnly": false,
    "Containers": { "*": { "Name": "", "EndpointID": "", "MacAddress": "", "IPv4Address": "", "IPv6Address": "" } },
    "Options": {}, "Labels": {}, "Peers": [], "Services": {}
}"#;

/// Prints an array of all that are there; the others are named afterwards.
pub fn run(context: &mut Context, verb: &NetworkInspect) -> Result {
    let all = networks::list()?;
    let found = verb.names.iter().map(|name| {
        let shown = networks::find(&all, name);
        shown.map(document).ok_or_else(|| Error::Usage(format!("network {name} not found")))
    });
    inspecting::print(context, &verb.format, EXAMPLE, found)
}

fn document(shown: &Shown) -> Document {
    let network = &shown.network;
    let pools = shown.subnets.iter().map(|(subnet, gateway)| {
        let mut pool = json!({ "Subnet": subnet.to_string(), "Gateway": gateway.to_string() });
        if let Some(asked) = network.ipam.iter().find(|pool| pool.subnet == *subnet) {
            if let Some(range) = asked.ip_range {
                pool["IPRange"] = range.to_string().into();
            }
            if !asked.aux_addresses.is_empty() {
                pool["AuxiliaryAddresses"] = json!(asked.aux_addresses);
            }
        }
        pool
    });
    let ipam = json!({ "Driver": "default", "Options": null, "Config": pools.collect::<Vec<_>>() });
    let containers =
        shown.containers.iter().map(|endpoint| (endpoint.id.clone(), container(shown, endpoint)));
    Document {
        name: network.name.clone(),
        id: shown.id.clone(),
        created: shown.created.map(time::with_zone).unwrap_or_default(),
        scope: SCOPE,
        driver: driver(shown),
        ipv4: network.ipv4,
        ipv6: network.ipv6,
        ipam,
        internal: network.internal,
        attachable: network.attachable,
        ingress: false,
        config_from: json!({ "Network": "" }),
        config_only: false,
        containers: containers.collect(),
        options: options(shown),
        labels: labels(shown),
    }
}

/// The bridge's name, or what else of the host's it is on, is told also where nobody has chosen it.
fn options(shown: &Shown) -> BTreeMap<String, String> {
    let mut options = shown.network.options.clone();
    let key = if driver(shown) == "bridge" { "com.docker.network.bridge.name" } else { "parent" };
    options.entry(key.to_owned()).or_insert_with(|| shown.bridge.clone());
    options
}

/// With those that Docker Compose gives the networks of a project.
pub fn labels(shown: &Shown) -> BTreeMap<String, String> {
    let mut labels = shown.network.labels.clone();
    if let Some((stack, key)) = &shown.of {
        labels.insert("com.docker.compose.project".to_owned(), stack.clone());
        labels.insert("com.docker.compose.network".to_owned(), key.clone());
    }
    labels
}

fn container(shown: &Shown, endpoint: &Endpoint) -> Value {
    let prefixed = |address: Option<std::net::IpAddr>| {
        let address = address?;
        let (subnet, _) = shown.subnets.iter().find(|(subnet, _)| subnet.contains(&address))?;
        Some(format!("{address}/{}", subnet.prefix_len()))
    };
    let Endpoint { id, name, address } = endpoint;
    json!({
        "Name": name,
        "EndpointID": composer_stack::sha256(&format!("{id}\n{}", shown.id)),
        "MacAddress": address.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        "IPv4Address": prefixed(address.ipv4.map(Into::into)).unwrap_or_default(),
        "IPv6Address": prefixed(address.ipv6.map(Into::into)).unwrap_or_default(),
    })
}
