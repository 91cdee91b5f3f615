//! Flows of UDP that the kernel tracks. A client that goes on sending keeps the entry that its first packet made, and
//! with it the container that was there then, or that nobody was: entries of a port that leads elsewhere are deleted.

use std::collections::BTreeSet;
use std::io;

use netlink_bindings::conntrack::{IterableTupleAttrs, Nfgenmsg, OpGetDo, Request};
use netlink_bindings::traits::{NetlinkRequest, Protocol};
use netlink_socket2::NetlinkSocket;

const UDP: u8 = libc::IPPROTO_UDP as u8;
/// What of a tuple a dump is narrowed by: its protocol and its destination port (CTA_FILTER_FLAG in
/// net/netfilter/nf_conntrack_netlink.c).
const BY_PROTOCOL_AND_PORT: u32 = 1 << 3 | 1 << 5;
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

/// Forgets every flow of UDP to one of these ports.
pub(super) fn forget(socket: &mut NetlinkSocket, ports: &BTreeSet<u16>) -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let header = Nfgenmsg { nfgen_family: family as u8, ..Default::default() };
        for port in ports {
            for request in flows(socket, &header, *port)? {
                match socket.request(&request)?.recv_ack().map_err(io::Error::from) {
                    // It has just ended by itself.
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                    other => other?,
                }
            }
        }
    }
    Ok(())
}

/// Requests to delete the flows to a port.
fn flows(socket: &mut NetlinkSocket, header: &Nfgenmsg, port: u16) -> io::Result<Vec<Delete>> {
    let mut request = Request::new().op_get_dump(header);
    let filter = request.encode().nested_tuple_orig().nested_tuple_proto();
    let filter = filter.push_proto_num(UDP).push_proto_dst_port(port).end_nested().end_nested();
    filter.nested_filter().push_orig_flags(BY_PROTOCOL_AND_PORT).push_reply_flags(0).end_nested();
    let mut reply = socket.request(&request)?;
    let mut found = Vec::new();
    while let Some(answer) = reply.recv() {
        let (_, entry) = answer?;
        found.extend(entry.get_tuple_orig().ok().and_then(|tuple| delete(header, &tuple)));
    }
    Ok(found)
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
