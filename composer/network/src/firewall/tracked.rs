//! Flows of UDP that the kernel tracks. A client that goes on sending keeps the entry that its first packet made, and
//! with it the container that was there then, or that nobody was: entries of a port that leads elsewhere are deleted.
//! Only those: flows to the same port of somebody else, and what others lead elsewhere, stay.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use netlink_bindings::conntrack::{IterableConntrackAttrs, IterableTupleAttrs, Nfgenmsg, OpGetDo, Request};
use netlink_bindings::traits::{NetlinkRequest, Protocol};
use netlink_socket2::NetlinkSocket;

use super::rule::STATUS_DNAT;

const UDP: u8 = libc::IPPROTO_UDP as u8;
/// What of a tuple a dump is narrowed by: its protocol (CTA_FILTER_FLAG in net/netfilter/nf_conntrack_netlink.c).
const BY_PROTOCOL: u32 = 1 << 3;
/// NETLINK_NETFILTER, and IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK, which the bindings do not know.
const NETLINK_NETFILTER: u16 = 12;
const DELETE: u16 = 1 << 8 | 2;

/// The request to look at one entry, as one to delete it.
struct Delete(OpGetDo<'static>);

impl NetlinkRequest for Delete {
    fn protocol(&self) -> Protocol {
        Protocol::Raw { protonum: NETLINK_NETFILTER, request_type: DELETE }
    }

    fn flags(&self) -> u16 {
        self.0.flags()
    }

    fn payload(&self) -> &[u8] {
        self.0.payload()
    }

    type ReplyType<'buf> = ();

    fn decode_reply(_: &[u8]) -> Self::ReplyType<'_> {}
}

/// Ports of the host, and the addresses of containers that they led and lead to.
pub(super) type Moved = BTreeMap<u16, BTreeSet<IpAddr>>;

/// Forgets the flows of UDP to these ports. The kernel walks its whole table for whoever asks for a port, so it is asked
/// for UDP, once a family: what each port costs besides is a look at the map.
pub(super) fn forget(socket: &mut NetlinkSocket, moved: &Moved) -> io::Result<()> {
    if moved.is_empty() {
        return Ok(());
    }
    let host = addresses_of_host()?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let header = Nfgenmsg { nfgen_family: family as u8, ..Default::default() };
        for request in flows(socket, &header, moved, &host)? {
            match socket.request(&request)?.recv_ack().map_err(io::Error::from) {
                // It has just ended by itself.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The addresses of all interfaces of the thread's namespace.
///
/// # Errors
/// When the kernel does not list them.
pub fn addresses_of_host() -> io::Result<BTreeSet<IpAddr>> {
    Ok(nix::ifaddrs::getifaddrs()?.filter_map(|interface| address(&interface)).collect())
}

fn address(interface: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// Requests to delete the flows to the ports that went to one of their targets, or that the host itself was asked for.
fn flows(
    socket: &mut NetlinkSocket,
    header: &Nfgenmsg,
    moved: &Moved,
    host: &BTreeSet<IpAddr>,
) -> io::Result<Vec<Delete>> {
    let mut request = Request::new().op_get_dump(header);
    let filter = request.encode().nested_tuple_orig().nested_tuple_proto();
    let filter = filter.push_proto_num(UDP).end_nested().end_nested();
    filter.nested_filter().push_orig_flags(BY_PROTOCOL).push_reply_flags(0).end_nested();
    let mut reply = socket.request(&request)?;
    let mut found = Vec::new();
    while let Some(answer) = reply.recv() {
        let (_, entry) = answer?;
        let Some(targets) = port(&entry).and_then(|port| moved.get(&port)) else { continue };
        let is_at_host = |address: IpAddr| address.is_loopback() || host.contains(&address);
        let concerns = answerer(&entry).is_some_and(|answerer| targets.contains(&answerer))
            || (!is_led_elsewhere(&entry) && asked(&entry).is_some_and(is_at_host));
        if concerns {
            found.extend(entry.get_tuple_orig().ok().and_then(|tuple| delete(header, &tuple)));
        }
    }
    Ok(found)
}

/// The port that was asked.
fn port(entry: &IterableConntrackAttrs<'_>) -> Option<u16> {
    entry.get_tuple_orig().and_then(|tuple| tuple.get_tuple_proto()).ok()?.get_proto_dst_port().ok()
}

/// Who answers.
fn answerer(entry: &IterableConntrackAttrs<'_>) -> Option<IpAddr> {
    let ip = entry.get_tuple_reply().and_then(|tuple| tuple.get_tuple_ip()).ok()?;
    ip.get_ip_v4_src().map(IpAddr::from).or_else(|_| ip.get_ip_v6_src().map(IpAddr::from)).ok()
}

/// Who was asked.
fn asked(entry: &IterableConntrackAttrs<'_>) -> Option<IpAddr> {
    let ip = entry.get_tuple_orig().and_then(|tuple| tuple.get_tuple_ip()).ok()?;
    ip.get_ip_v4_dst().map(IpAddr::from).or_else(|_| ip.get_ip_v6_dst().map(IpAddr::from)).ok()
}

fn is_led_elsewhere(entry: &IterableConntrackAttrs<'_>) -> bool {
    entry.get_status().is_ok_and(|status| status & STATUS_DNAT != 0)
}

fn delete(header: &Nfgenmsg, tuple: &IterableTupleAttrs<'_>) -> Option<Delete> {
    let (ip, ports) = (tuple.get_tuple_ip().ok()?, tuple.get_tuple_proto().ok()?);
    let mut request = Request::new().op_get_do(header);
    let addresses = request.encode().nested_tuple_orig().nested_tuple_ip();
    let addresses = match (ip.get_ip_v4_src(), ip.get_ip_v4_dst()) {
        (Ok(source), Ok(destination)) => addresses.push_ip_v4_src(source).push_ip_v4_dst(destination),
        _ => addresses.push_ip_v6_src(ip.get_ip_v6_src().ok()?).push_ip_v6_dst(ip.get_ip_v6_dst().ok()?),
    };
    addresses
        .end_nested()
        .nested_tuple_proto()
        .push_proto_num(UDP)
        .push_proto_src_port(ports.get_proto_src_port().ok()?)
        .push_proto_dst_port(ports.get_proto_dst_port().ok()?)
        .end_nested()
        .end_nested();
    Some(Delete(request))
}
