//! What a container takes itself for, and where it looks for others: its host name, /etc/hosts and /etc/resolv.conf.

use std::fs;

use composer_stack::{HostAddress, NetworkMode};

use super::Engine;
use super::container::Container;
use super::start::{Result, StartError};
use crate::records::ContainerRecord;

/// A container's own name, and the text of its files.
pub struct Identity {
    /// Its host name.
    pub hostname: String,
    /// /etc/hosts (hosts(5)).
    pub hosts: String,
    /// /etc/resolv.conf (resolv.conf(5)).
    pub resolv_conf: String,
}

impl Engine {
    /// In a namespace that is another's it is the same as there.
    pub(super) fn identity(&self, container: &Container) -> Result<Identity> {
        let record = container.record.borrow().clone();
        let other = self.host_of(&record.service.network)?;
        let whose = other.as_ref().unwrap_or(&record);
        let hostname = match &whose.service.network {
            NetworkMode::Host if whose.service.hostname.is_none() => host_name()?,
            _ => whose
                .service
                .hostname
                .clone()
                .unwrap_or_else(|| whose.id[..12.min(whose.id.len())].to_owned()),
        };
        let is_hosts = matches!(whose.service.network, NetworkMode::Host);
        let mut hosts = if is_hosts { text("/etc/hosts")? } else { self.hosts(whose, &hostname) };
        for host in &record.service.extra_hosts {
            let address = match host.address {
                HostAddress::Ip(address) => address,
                HostAddress::HostGateway => match self.host_gateway(whose) {
                    Some(address) => address,
                    None => continue,
                },
            };
            hosts += &format!("{address}\t{}\n", host.name);
        }
        let resolv_conf = match &whose.service.network {
            NetworkMode::Networks(_) => resolv_conf(&record),
            NetworkMode::Host | NetworkMode::None | NetworkMode::Service(_) | NetworkMode::Container(_) => {
                text("/etc/resolv.conf").unwrap_or_default()
            }
        };
        Ok(Identity { hostname, hosts, resolv_conf })
    }

    fn hosts(&self, record: &ContainerRecord, hostname: &str) -> String {
        let full = match &record.service.domainname {
            Some(domain) => format!("{hostname}.{domain} {hostname}"),
            None => hostname.to_owned(),
        };
        let own = record.all_addresses().into_iter().map(|address| format!("{address}\t{full}\n"));
        format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n{}",
            own.collect::<String>()
        )
    }

    /// The host as a container sees it: the gateway of its first network.
    fn host_gateway(&self, record: &ContainerRecord) -> Option<std::net::IpAddr> {
        let networks = self.networks.borrow();
        let on = record.service.network.in_order();
        let gateways = on.into_iter().filter_map(|(key, _)| networks.get(key)?.bridge.subnets.first());
        let first = gateways.map(|subnet| subnet.gateway).next();
        first.or_else(|| {
            matches!(record.service.network, NetworkMode::Host)
                .then_some(std::net::Ipv4Addr::LOCALHOST.into())
        })
    }
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| StartError::doing(&format!("read {path}"), &error))
}

fn host_name() -> Result<String> {
    let name =
        nix::unistd::gethostname().map_err(|errno| StartError::doing("read the host's name", &errno))?;
    Ok(name.to_string_lossy().into_owned())
}

fn resolv_conf(record: &ContainerRecord) -> String {
    let service = &record.service;
    let host = composer_network::dns::host_resolv();
    let search = if service.dns_search.is_empty() { &host.search } else { &service.dns_search };
    let mut text = String::from("nameserver 127.0.0.11\n");
    // A single dot says that there is none, as in Docker.
    if !search.is_empty() && search.iter().any(|domain| domain != ".") {
        text += &format!("search {}\n", search.join(" "));
    }
    let own = service.dns_opt.iter().any(|option| option.starts_with("ndots:"));
    let options: Vec<&str> =
        (!own).then_some("ndots:0").into_iter().chain(service.dns_opt.iter().map(String::as_str)).collect();
    text + &format!("options {}\n", options.join(" "))
}
