//! Names inside containers: by which ones each is known, what each sees, and its /etc/hosts and /etc/resolv.conf.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use composer_network::dns::{Entry, Forwarding, ResolvConf, View, Zone};
use composer_stack::{HostAddress, Service};

use super::Engine;
use super::container::Container;
use crate::records::ContainerRecord;

impl Engine {
    /// Tells the resolver which names are the stack's own, whether there are containers that have them or not.
    pub(super) fn know_own_names(&self) {
        let record = self.record.borrow();
        let Some(record) = &*record else { return };
        let names = record.services.values().flat_map(|service| {
            let aliases = service.network.attachments().flat_map(|(_, at)| at.aliases.iter().cloned());
            let replicas = (1..=service.replicas).map(|index| self.derived_name(service, index));
            aliases.chain(replicas).chain(service.container_name.clone()).chain([service.name.clone()])
        });
        self.resolver.set_own(names, record.networks.values().map(|network| network.name.clone()));
    }

    /// Makes a container known by its names and answers its own questions. Before its program starts: its dependents'
    /// first question is answered, and so is its own.
    pub(super) fn publish(
        &self,
        container: &Container,
        udp: OwnedFd,
        tcp: OwnedFd,
    ) -> Result<(), composer_network::Error> {
        let (Some(zone), record) = (self.zone.borrow().clone(), container.record.borrow()) else {
            return Ok(());
        };
        let names = self.names(&record);
        zone.set(&record.name, Entry { names, ipv4: record.address, ipv6: None });
        let listener = self.resolver.serve(Rc::new(view(&record.service, vec![zone])), udp, tcp)?;
        self.listeners.borrow_mut().insert(record.name.clone(), listener);
        Ok(())
    }

    /// Makes a container unknown by its names, and answers it no more.
    pub(super) fn withdraw(&self, container: &Container) {
        let name = container.name();
        self.listeners.borrow_mut().remove(&name);
        if let Some(zone) = &*self.zone.borrow() {
            zone.remove(&name);
        }
    }

    /// The container's names, the one that its address leads back to first.
    fn names(&self, record: &ContainerRecord) -> Vec<String> {
        let ContainerRecord { name, service, id, .. } = record;
        let mut names = vec![name.clone(), id.get(..12).unwrap_or(id).to_owned()];
        names.extend(service.hostname.clone());
        if record.oneoff.as_ref().is_none_or(|oneoff| oneoff.aliases) {
            names.push(service.name.clone());
            names.extend(service.network.attachments().flat_map(|(_, at)| at.aliases.iter().cloned()));
        }
        if record.oneoff.is_none() {
            names.push(self.derived_name(service, record.index));
        }
        names
    }

    fn derived_name(&self, service: &Service, index: u32) -> String {
        format!("{}-{}-{index}", self.stack, service.name)
    }
}

/// What a container of the service sees of these networks.
fn view(service: &Service, zones: Vec<Rc<Zone>>) -> View {
    let mut links: HashMap<String, Vec<String>> = HashMap::new();
    for link in &service.links {
        if let Some(alias) = &link.alias {
            links.entry(alias.to_ascii_lowercase()).or_default().push(link.service.to_ascii_lowercase());
        }
    }
    let forwarding = match &service.dns[..] {
        [] => Forwarding::Host,
        servers => Forwarding::Servers(servers.to_vec()),
    };
    View { zones, links, forwarding, keeps_short_names: resolver(service).searches_itself() }
}

/// What the container's resolv.conf is made of.
fn resolver(service: &Service) -> ResolvConf {
    composer_network::dns::host_resolv().within(&service.dns_search, &service.dns_opt)
}

/// The container's /etc/resolv.conf.
pub(super) fn resolv_conf(service: &Service) -> String {
    resolver(service).to_string()
}

/// The container's /etc/hosts: `own` are its addresses, `host` those that it reaches the host at.
pub(super) fn hosts(service: &Service, hostname: &str, own: &[IpAddr], host: &[IpAddr]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let full = match &service.domainname {
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
        None => hostname.to_owned(),
    };
    let mut line = |address: &IpAddr, names: &str| {
        // Writing into a String does not fail.
        let _ = writeln!(text, "{address}\t{names}");
    };
    for extra in &service.extra_hosts {
        match &extra.address {
            HostAddress::Ip(address) => line(address, &extra.name),
            HostAddress::HostGateway => host.iter().for_each(|address| line(address, &extra.name)),
        }
    }
    own.iter().for_each(|address| line(address, &full));
    text
}
