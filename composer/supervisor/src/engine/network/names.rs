//! What the containers of a stack are called on its networks, and what each of them sees of that.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use composer_network::dns::{Entry, Forwarding, View};
use composer_stack::Attachment;

use super::super::Engine;
use super::super::container::Container;
use crate::diagnose;
use crate::records::ContainerRecord;

impl Engine {
    /// Makes a container known by its names on its networks and answers its own questions.
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
        for (key, at) in record.service.network.in_order() {
            let (Some(net), Some(address)) = (networks.get(key), record.addresses.get(key)) else { continue };
            let names = self.names(&record, at);
            net.zone.set(&record.name, Entry { names, ipv4: address.ipv4, ipv6: address.ipv6 });
            if let Some(neighbours) = &net.neighbours {
                neighbours.publish()?;
            }
            leads_out |= !net.config.internal;
            view.zones.push(Rc::clone(&net.zone));
        }
        view.forwarding = match record.service.dns.as_slice() {
            _ if !leads_out => Forwarding::Nobody,
            [] => Forwarding::Host,
            servers => Forwarding::Servers(servers.to_vec()),
        };
        for link in &record.service.links {
            let alias = link.alias.as_ref().unwrap_or(&link.service);
            view.links.insert(alias.to_ascii_lowercase(), vec![link.service.to_ascii_lowercase()]);
        }
        let listener = self.resolver.serve(Rc::new(view), udp, tcp)?;
        self.listeners.borrow_mut().insert(record.name.clone(), listener);
        Ok(())
    }

    /// What a container is called on a network.
    fn names(&self, record: &ContainerRecord, at: &Attachment) -> Vec<String> {
        let service = &record.service;
        let mut known = vec![record.name.clone(), record.id[..12.min(record.id.len())].to_owned()];
        if record.oneoff.is_none_or(|oneoff| oneoff.aliases) {
            known.push(service.name.clone());
            known.extend(at.aliases.iter().cloned());
        }
        if record.oneoff.is_none() {
            known.push(format!("{}-{}-{}", self.stack, service.name, record.index));
        }
        known.dedup();
        known
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
    }

    /// Names that nobody else is asked for: those of the stack's services, whether anybody has them now or not.
    pub(super) fn own_names(&self) {
        let record = self.record.borrow();
        let services = record.iter().flat_map(|record| record.services.values());
        let names = services.flat_map(|service| {
            let aliases = service.network.attachments().flat_map(|(_, at)| at.aliases.iter().cloned());
            std::iter::once(service.name.clone()).chain(service.container_name.clone()).chain(aliases)
        });
        let networks = self.networks.borrow();
        let own = networks.values().filter(|net| !net.config.external).map(|net| net.config.name.clone());
        self.resolver.set_own(names, own);
    }
}
