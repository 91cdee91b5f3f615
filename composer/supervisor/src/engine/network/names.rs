//! What the containers of a stack are called on its networks, and what each of them sees of that.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use composer_network::dns::{Entry, Forwarding, ResolvConf, View};
use composer_stack::{Attachment, Service};

use super::super::Engine;
use super::super::container::Container;
use crate::diagnose;
use crate::records::ContainerRecord;

impl Engine {
    /// Makes a container known by its names on its networks and answers its own questions. Before its program starts:
    /// its dependents' first question is answered, and so is its own.
    pub(in super::super) fn publish(
        &self,
        container: &Container,
        udp: OwnedFd,
        tcp: OwnedFd,
    ) -> std::result::Result<(), composer_network::Error> {
        let record = container.record.borrow();
        let networks = self.networks.borrow();
        let mut view = View::default();
        let mut leads_out = false;
        let on = record.service.network.attachments();
        let on = on.filter_map(|(key, at)| Some((at, networks.get(key)?, record.addresses.get(key)?)));
        let mut on: Vec<_> = on.collect();
        // The first that has a name answers for it, in both families.
        on.sort_by_key(|(at, net, _)| (net.made.rank(at.gw_priority), net.config.name.clone()));
        for (at, net, address) in on {
            let names = self.names(&record, at);
            net.zone.set(&record.name, Entry { names, ipv4: address.ipv4, ipv6: address.ipv6 });
            if let Some(neighbours) = &net.neighbours {
                neighbours.publish()?;
            }
            leads_out |= !net.made.internal;
            view.zones.push(Rc::clone(&net.zone));
        }
        view.forwarding = match record.service.dns.as_slice() {
            _ if !leads_out => Forwarding::Nobody,
            [] => Forwarding::Host,
            servers => Forwarding::Servers(servers.to_vec()),
        };
        view.links = links(&record.service);
        view.keeps_short_names = resolver(&record.service).searches_itself();
        let listener = self.resolver.serve(Rc::new(view), udp, tcp)?;
        self.listeners.borrow_mut().insert(record.name.clone(), listener);
        Ok(())
    }

    /// What a container is called on a network, in the order in which its addresses lead back to one of these.
    fn names(&self, record: &ContainerRecord, at: &Attachment) -> Vec<String> {
        let service = &record.service;
        let mut known = vec![record.name.clone()];
        if record.oneoff.is_none_or(|oneoff| oneoff.aliases) {
            known.push(service.name.clone());
            known.extend(at.aliases.iter().cloned());
        }
        if record.oneoff.is_none() {
            known.push(self.derived_name(service, record.index));
        }
        known.extend(service.hostname.clone());
        known.push(record.id[..12.min(record.id.len())].to_owned());
        known
    }

    fn derived_name(&self, service: &Service, index: u32) -> String {
        format!("{}-{}-{index}", self.stack, service.name)
    }

    /// Makes a container unknown by its names, and answers it no more.
    pub(in super::super) fn withdraw(&self, container: &Container) {
        let name = container.name();
        self.listeners.borrow_mut().remove(&name);
        for net in self.networks.borrow().values() {
            net.zone.remove(&name);
            if let Some(Err(error)) = net.neighbours.as_ref().map(|neighbours| neighbours.publish()) {
                diagnose(&format!("names of {name} on network {}: {error}", net.config.name));
            }
        }
        self.close_ports(&name);
    }

    /// Names that nobody else is asked for: those of the stack's services, whether there are containers that have them or
    /// not.
    pub(in super::super) fn know_own_names(&self) {
        let record = self.record.borrow();
        let Some(record) = &*record else { return };
        let names = record.services.values().flat_map(|service| {
            let aliases = service.network.attachments().flat_map(|(_, at)| at.aliases.iter().cloned());
            let replicas = (1..=service.replicas).map(|index| self.derived_name(service, index));
            aliases.chain(replicas).chain(service.container_name.clone()).chain([service.name.clone()])
        });
        // On one that other stacks are on as well, theirs are names too.
        let own = record.networks.values().filter(|network| !network.external);
        self.resolver.set_own(names, own.map(|network| network.name.clone()));
    }
}

/// The names that a service gives to others for itself alone. Those without an alias are names of the network already.
fn links(service: &Service) -> HashMap<String, Vec<String>> {
    let mut links: HashMap<String, Vec<String>> = HashMap::new();
    for link in &service.links {
        if let Some(alias) = &link.alias {
            links.entry(alias.to_ascii_lowercase()).or_default().push(link.service.to_ascii_lowercase());
        }
    }
    for link in &service.external_links {
        if let Some(alias) = &link.alias {
            links.entry(alias.to_ascii_lowercase()).or_default().push(link.container.to_ascii_lowercase());
        }
    }
    links
}

/// What the resolv.conf of a container that is on no network of ours is made of; the host's as it is where nothing is
/// given.
pub(in super::super) fn own_resolver(service: &Service) -> Option<ResolvConf> {
    let Service { dns, dns_search: search, dns_opt: options, .. } = service;
    let is_given = !(dns.is_empty() && search.is_empty() && options.is_empty());
    is_given.then(|| composer_network::dns::host_resolv().with(dns, search, options))
}

/// What a container's resolv.conf is made of.
pub(in super::super) fn resolver(service: &Service) -> ResolvConf {
    composer_network::dns::host_resolv().within(&service.dns_search, &service.dns_opt)
}
