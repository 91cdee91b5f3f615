//! Route netlink for traffic control: many requests at once, and lists.
//!
//! It blocks, and belongs on a thread of its own, or into a program that has nothing else to do.

use std::io;

use rtnetlink::LinkUnspec;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::{Error, Result};

/// Bytes for one read: the kernel fills at most 32 KiB with a list.
const RECEIVE: usize = 64 << 10;
/// How often something is asked for of a kernel that does not know it.
const MODULE_TRIES: u32 = 10;

/// One request.
pub(super) struct Request {
    /// What it does, as a verb and its object, before the device's name.
    pub doing: &'static str,
    /// The kernel's modules that it needs.
    pub needs: Option<&'static str>,
    /// Errors that are none.
    pub fine: &'static [i32],
    pub message: RouteNetlinkMessage,
    /// Besides those that every request has.
    pub flags: u16,
}

/// A connection to the thread's namespace.
pub(super) struct Traffic {
    socket: Socket,
    sequence: u32,
}

impl Traffic {
    pub(super) fn open() -> Result<Self> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| Error::kernel("open", "a route netlink socket", source))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The index of the interface of this name, if there is one.
    pub(super) fn index(&mut self, name: &str) -> Result<Option<u32>> {
        let message = RouteNetlinkMessage::GetLink(LinkUnspec::new_with_name(name).build());
        let look =
            Request { doing: "look for interface", needs: None, fine: &[libc::ENODEV], message, flags: 0 };
        let answers = self.exchange(name, vec![look])?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link.header.index),
            _ => None,
        }))
    }

    /// Sends all of them at once, which the kernel takes in order, and waits for the outcome of each; everything that it
    /// has answered. The first error counts.
    pub(super) fn exchange(
        &mut self,
        on: &str,
        mut requests: Vec<Request>,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let mut tries = 1;
        loop {
            match self.exchange_once(&requests) {
                Ok(answers) => return Ok(answers),
                // Where another process has the kernel load the module in this moment, modprobe(8) finds it there and
                // returns before it is ready. Each try runs modprobe anew.
                Err((Some(place), error)) if requests[place].is_lacking(&error) && tries < MODULE_TRIES => {
                    tries += 1;
                    requests.drain(..place);
                }
                Err((place, source)) => {
                    let request = place.and_then(|place| requests.get(place));
                    return Err(match request.map(|request| (request.doing, request.needs)) {
                        Some((_, Some(part))) if is_unknown(&source) => Error::NoShaping { part, source },
                        Some((doing, _)) => Error::kernel(doing, on, source),
                        None => Error::kernel("limit the bandwidth of", on, source),
                    });
                }
            }
        }
    }

    /// The answers, or the first error, with the place of the request that it is of.
    fn exchange_once(
        &mut self,
        requests: &[Request],
    ) -> std::result::Result<Vec<RouteNetlinkMessage>, (Option<usize>, io::Error)> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend(self.encode(request.message.clone(), NLM_F_REQUEST | NLM_F_ACK | request.flags));
        }
        self.socket.send(&bytes, 0).map_err(|error| (None, error))?;
        let (mut answers, mut waiting, mut failed) = (Vec::new(), requests.len(), None);
        while waiting > 0 {
            for answer in self.receive(false).map_err(|error| (None, error))? {
                let place = answer.header.sequence_number.wrapping_sub(first) as usize;
                let Some(request) = requests.get(place) else { continue };
                match answer.payload {
                    NetlinkPayload::Error(error) => {
                        waiting -= 1;
                        let source = error.to_io();
                        let is_fine =
                            source.raw_os_error().is_some_and(|number| request.fine.contains(&number));
                        if error.code.is_some() && !is_fine {
                            failed.get_or_insert((Some(place), source));
                        }
                    }
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
            }
        }
        failed.map_or(Ok(answers), Err)
    }

    /// Everything of a kind that the kernel has.
    pub(super) fn list(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let bytes = self.encode(message, NLM_F_REQUEST | NLM_F_DUMP);
        self.socket.send(&bytes, 0)?;
        let mut listed = Vec::new();
        loop {
            for answer in self.receive(true)? {
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(listed),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => listed.push(message),
                    _ => {}
                }
            }
        }
    }

    fn encode(&mut self, message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
        message.serialize(&mut bytes);
        bytes
    }

    /// In a list there may be something of others' that netlink-packet-route cannot read: it is left out.
    fn receive(&mut self, listing: bool) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let mut buffer = Vec::with_capacity(RECEIVE);
        self.socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        let mut messages = Vec::new();
        while let Some((length, _)) = rest.split_first_chunk() {
            let length = (u32::from_ne_bytes(*length) as usize).next_multiple_of(4).clamp(4, rest.len());
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
                Ok(message) => messages.push(message),
                Err(_) if listing => {}
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
            rest = &rest[length..];
        }
        Ok(messages)
    }
}

impl Request {
    fn is_lacking(&self, error: &io::Error) -> bool {
        self.needs.is_some() && is_unknown(error)
    }
}

/// What the kernel says of a kind that it does not know.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENOSYS))
}
