//! The container's side: its loopback, its `eth0` and its default route, in two requests of a few messages each; and the
//! removal of links, which takes as long as the kernel's readers.
//!
//! Runs on a thread of its own, in the namespace, and blocks there: the runtime is not held up while the kernel's one
//! lock for link changes (rtnl) is busy, and no connection with its buffers is made for each container. The
//! messages are rtnetlink's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{AddressMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::announce::Announcing;
use super::bridge::set_ipv6;
use super::{Bridge, Medium};
use crate::error::{Error, Result};

/// The loopback's index in every namespace (LOOPBACK_IFINDEX, linux/net_namespace.h).
const LOOPBACK: u32 = 1;
/// Bytes for one read: an acknowledgement repeats its request, a link's description is below 2 kB.
const RECEIVE: usize = 8192;
pub(super) const SET: u16 = NLM_F_REQUEST | NLM_F_ACK;

/// How a container is on one network.
#[derive(Debug, Clone)]
pub struct Plug {
    /// The network's.
    pub bridge: Bridge,
    /// The link group of the host's end: that of the container's stack.
    pub group: u32,
    /// The name of the host's end.
    pub veth: String,
    /// What the container calls its end.
    pub interface: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its addresses, each with the prefix of its subnet.
    pub addresses: Vec<IpNet>,
    /// The ways out of the container that go over this network.
    pub gateways: Gateways,
}

/// Where a container's default routes lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gateways {
    /// Of IPv4.
    pub v4: Option<Ipv4Addr>,
    /// Of IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// A route netlink socket of the namespace that the thread was in when it was opened.
pub(crate) struct Inside {
    socket: Socket,
    sequence: u32,
}

/// One request, and how to name it when it fails.
type Request = (&'static str, RouteNetlinkMessage, u16);

impl Inside {
    /// Opens the socket in the thread's namespace.
    pub(crate) fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open()
            .map_err(|source| Error::kernel("open", "a route netlink socket in the container", source))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sets the loopback up: 127.0.0.0/8, with 127.0.0.11, is there from then on.
    pub(crate) fn raise_loopback(&mut self) -> Result<()> {
        let up = LinkUnspec::new_with_index(LOOPBACK).up().build();
        self.request(
            "raise the loopback of",
            "the container",
            vec![("", RouteNetlinkMessage::SetLink(up), SET)],
        )?;
        Ok(())
    }

    /// Gives an interface its addresses, sets it up and routes everything over its gateways.
    pub(crate) fn configure(&mut self, plug: &Plug) -> Result<()> {
        let name = plug.interface.as_str();
        let link =
            self.find(name)?.ok_or_else(|| Error::kernel("look for", name, nix::errno::Errno::ENODEV))?;
        let index = link.header.index;
        const ADD: u16 = SET | NLM_F_CREATE | NLM_F_REPLACE;
        let address = |net: &IpNet| ("address", RouteNetlinkMessage::NewAddress(address(index, *net)), ADD);
        let (v4, v6): (Vec<&IpNet>, Vec<&IpNet>) =
            plug.addresses.iter().partition(|net| net.addr().is_ipv4());
        // Also where a new namespace has taken over from the host that interfaces have no IPv6.
        set_ipv6(name, !v6.is_empty()).map_err(|error| {
            let doing = if v6.is_empty() { "take IPv6 from" } else { "give IPv6 to" };
            Error::kernel(doing, format_args!("{name} in the container"), error)
        })?;
        let announcing = Announcing::of(plug);
        let up = LinkUnspec::new_with_index(index).up().build();
        // The kernel takes the messages of a request in order: a gateway is reachable once address and state are done,
        // and an address of IPv6 has a route only on an interface that is up.
        let mut configure: Vec<Request> = v4.into_iter().map(address).collect();
        configure.push(("link state", RouteNetlinkMessage::SetLink(up), SET));
        configure.extend(v6.into_iter().map(address));
        let Gateways { v4, v6 } = plug.gateways;
        let is_direct = matches!(plug.bridge.medium, Medium::Ipvlan(mode, _) if mode.is_routed());
        let v4 = v4.map(|gateway| {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index);
            if is_direct { route.scope(RouteScope::Link) } else { route.gateway(gateway) }.build()
        });
        let v6 = v6.map(|gateway| {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index);
            if is_direct { route } else { route.gateway(gateway) }.build()
        });
        let routes = v4.into_iter().chain(v6);
        configure.extend(routes.map(|route| {
            ("default route", RouteNetlinkMessage::NewRoute(route), SET | NLM_F_CREATE | NLM_F_EXCL)
        }));
        self.request("configure", name, configure)?;
        announcing.announce(self, plug, &link);
        Ok(())
    }

    /// Removes a link of the thread's namespace; that it is gone already is no error.
    pub(super) fn remove(&mut self, index: u32, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).build();
        match self.request("remove interface", name, vec![("", RouteNetlinkMessage::DelLink(message), SET)]) {
            Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The link of this name, if there is one.
    pub(super) fn find(&mut self, name: &str) -> Result<Option<LinkMessage>> {
        let by_name = LinkUnspec::new_with_name(name).build();
        match self.request("look for", name, vec![("", RouteNetlinkMessage::GetLink(by_name), SET)]) {
            Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            other => other,
        }
    }

    /// Sends all messages at once and waits for the acknowledgement of each; the link among the answers, if any.
    pub(super) fn request(
        &mut self,
        doing: &'static str,
        on: &str,
        requests: Vec<Request>,
    ) -> Result<Option<LinkMessage>> {
        let failed = |part: &str, source: io::Error| match part {
            "" => Error::kernel(doing, on, source),
            part => Error::kernel(doing, format_args!("the {part} of {on} in the container"), source),
        };
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut parts = Vec::with_capacity(requests.len());
        for (part, message, flags) in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(message);
            message.header.flags = flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len(), 0);
            message.serialize(&mut bytes[start..]);
            parts.push(part);
        }
        self.socket.send(&bytes, 0).map_err(|source| failed("", source))?;
        let mut link = None;
        let mut waiting = parts.len();
        let mut buffer = Vec::with_capacity(RECEIVE);
        while waiting > 0 {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).map_err(|source| failed("", source))?;
            let mut rest = buffer.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| failed("", io::Error::other(error.to_string())))?;
                let length = (answer.header.length as usize).next_multiple_of(4).clamp(1, rest.len());
                rest = &rest[length..];
                match answer.payload {
                    NetlinkPayload::Error(error) => {
                        if error.code.is_some() {
                            let place = answer.header.sequence_number.wrapping_sub(first) as usize;
                            return Err(failed(parts.get(place).copied().unwrap_or(""), error.to_io()));
                        }
                        waiting -= 1;
                    }
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                        link = Some(message)
                    }
                    _ => {}
                }
            }
        }
        Ok(link)
    }
}

fn address(index: u32, net: IpNet) -> AddressMessage {
    match net.addr() {
        IpAddr::V4(address) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, net.prefix_len()).build()
        }
        IpAddr::V6(address) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(address, net.prefix_len())
                .build();
            // The registry has seen to it that nobody else has it: it can be used at once.
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
        }
    }
}
