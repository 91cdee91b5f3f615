//! What a container takes itself for, and where it looks for others: its host name, /etc/hosts and /etc/resolv.conf.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use composer_stack::{HostAddress, NetworkMode};

use super::Engine;
use super::container::Container;
use super::network::{own_resolver, resolver};
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
        let other = self.root_of(&record.service.network)?;
        let whose = other.as_ref().unwrap_or(&record);
        let hostname = match &whose.service.network {
            _ if record.service.isolation.uts => host_name()?,
            NetworkMode::Host if whose.service.hostname.is_none() => host_name()?,
            _ => whose
                .service
                .hostname
                .clone()
                .unwrap_or_else(|| whose.id[..12.min(whose.id.len())].to_owned()),
        };
        let is_hosts = matches!(whose.service.network, NetworkMode::Host);
        let known = if is_hosts { text("/etc/hosts")? } else { LOCAL.to_owned() };
        // What is chosen comes first, as in Docker: who looks a name up takes the first line that has it.
        let own = if is_hosts { String::new() } else { own_lines(whose, &hostname) };
        let hosts = known + &self.extra_lines(whose) + &own;
        let resolv_conf = match &whose.service.network {
            NetworkMode::Networks(_) => resolver(&whose.service).to_string(),
            NetworkMode::Host | NetworkMode::None | NetworkMode::Service(_) | NetworkMode::Container(_) => {
                own_resolver(&whose.service)
                    .map_or_else(|| text("/etc/resolv.conf").unwrap_or_default(), |conf| conf.to_string())
            }
        };
        Ok(Identity { hostname, hosts, resolv_conf })
    }

    /// The lines of `extra_hosts`.
    fn extra_lines(&self, record: &ContainerRecord) -> String {
        let mut lines = String::new();
        for host in &record.service.extra_hosts {
            let addresses = match host.address {
                HostAddress::Ip(address) => vec![address],
                HostAddress::HostGateway => self.host_gateways(record),
            };
            lines.extend(addresses.into_iter().map(|address| format!("{address}\t{}\n", host.name)));
        }
        lines
    }

    /// The host as a container sees it; that of another stack is not known here.
    fn host_gateways(&self, record: &ContainerRecord) -> Vec<IpAddr> {
        match record.service.network {
            NetworkMode::Host => vec![Ipv4Addr::LOCALHOST.into()],
            _ if !self.is_own(record) => Vec::new(),
            _ => self.gateways_of(record),
        }
    }
}

/// What every container knows of itself.
const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

fn own_lines(record: &ContainerRecord, hostname: &str) -> String {
    let full = match &record.service.domainname {
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
        None => hostname.to_owned(),
    };
    record.all_addresses().into_iter().map(|address| format!("{address}\t{full}\n")).collect()
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| StartError::doing(&format!("read {path}"), &error))
}

fn host_name() -> Result<String> {
    let name =
        nix::unistd::gethostname().map_err(|errno| StartError::doing("read the host's name", &errno))?;
    Ok(name.to_string_lossy().into_owned())
}
