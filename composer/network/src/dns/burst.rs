//! Many datagrams by one system call each way (recvmmsg(2), sendmsg(2) and sendmmsg(2)), and through the kernel as one where
//! they go to one client and are of one length: it takes them apart where they arrive (UDP_SEGMENT, udp(7), Linux 4.18).

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg};

use super::answer::EDNS_LIMIT;

/// How many datagrams of one container are answered before the others have their turn.
pub(super) const BURST: usize = 64;
/// Bytes of a query that are looked at: what we say we take.
const LONGEST: usize = EDNS_LIMIT as usize;
/// Bytes that go through the kernel as one: an IPv4 packet's 65,535 without its headers, and some room.
const MOST_AT_ONCE: usize = 60_000;

/// Buffers for a burst of queries and their answers. One for all containers: it is used between two waits only.
pub(super) struct Burst {
    queries: Vec<[u8; LONGEST]>,
    received: Vec<Option<(usize, SocketAddrV4)>>,
    receiving: MultiHeaders<SockaddrIn>,
    /// The first ones are to be sent, to these in turn; the next is where the next answer goes.
    answers: Vec<Vec<u8>>,
    to: Vec<SocketAddrV4>,
    order: Vec<usize>,
    sending: MultiHeaders<SockaddrIn>,
}

impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Burst").finish_non_exhaustive()
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self {
            queries: vec![[0; LONGEST]; BURST],
            received: Vec::with_capacity(BURST),
            receiving: MultiHeaders::preallocate(BURST, None),
            answers: vec![Vec::new(); BURST],
            to: Vec::with_capacity(BURST),
            order: Vec::with_capacity(BURST),
            sending: MultiHeaders::preallocate(BURST, None),
        }
    }
}

impl Burst {
    /// Receives what is there, up to a burst, without waiting. How many there were.
    pub(super) fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.received.clear();
        self.to.clear();
        let mut slices: Vec<_> = self.queries.iter_mut().map(|query| [IoSliceMut::new(query)]).collect();
        let socket = socket.as_fd().as_raw_fd();
        let messages =
            recvmmsg(socket, &mut self.receiving, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        self.received.extend(messages.map(|message| {
            // What did not fit is no query of ours, and without its end would be read as another.
            let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            message.address.filter(|_| is_whole).map(|from| (message.bytes, from.into()))
        }));
        Ok(self.received.len())
    }

    /// A query that was received, who sent it, and where its answer goes.
    pub(super) fn received(&mut self, place: usize) -> Option<(&[u8], SocketAddrV4, &mut Vec<u8>)> {
        let (length, from) = self.received.get(place).copied().flatten()?;
        let query = self.queries.get(place)?.get(..length)?;
        Some((query, from, self.answers.get_mut(self.to.len())?))
    }

    /// The answer that was written last is to be sent there.
    pub(super) fn answered(&mut self, to: SocketAddrV4) {
        self.to.push(to);
    }

    /// Sends the answers, without waiting, in whichever order: a client knows them by their ids.
    pub(super) fn send(&mut self, socket: &impl AsFd) {
        let socket = socket.as_fd().as_raw_fd();
        let kind = |place: usize| (self.to[place], self.answers[place].len());
        self.order.clear();
        self.order.extend(0..self.to.len());
        self.order.sort_unstable_by_key(|place| kind(*place));
        let mut alone = Vec::new();
        for same in self.order.chunk_by(|one, other| kind(*one) == kind(*other)) {
            let (to, length) = kind(same[0]);
            for together in same.chunks((MOST_AT_ONCE / length.max(1)).max(1)) {
                if together.len() == 1 || self.send_as_one(socket, together, (to, length)).is_err() {
                    alone.extend_from_slice(together);
                }
            }
        }
        self.send_each(socket, &alone);
    }

    /// Answers of one length to one client.
    fn send_as_one(
        &self,
        socket: RawFd,
        places: &[usize],
        (to, length): (SocketAddrV4, usize),
    ) -> nix::Result<()> {
        let slices: Vec<_> = places.iter().map(|place| IoSlice::new(&self.answers[*place])).collect();
        let length = u16::try_from(length).map_err(|_| nix::errno::Errno::EMSGSIZE)?;
        let control = [ControlMessage::UdpGsoSegments(&length)];
        sendmsg(socket, &slices, &control, MsgFlags::MSG_DONTWAIT, Some(&SockaddrIn::from(to))).map(drop)
    }

    fn send_each(&mut self, socket: RawFd, places: &[usize]) {
        let to: Vec<_> = places.iter().map(|place| Some(SockaddrIn::from(self.to[*place]))).collect();
        let slices: Vec<_> = places.iter().map(|place| [IoSlice::new(&self.answers[*place])]).collect();
        let mut sent = 0;
        while sent < to.len() {
            let rest = (&slices[sent..], &to[sent..]);
            let outcome = sendmmsg(socket, &mut self.sending, rest.0, rest.1, [], MsgFlags::MSG_DONTWAIT);
            match outcome.map(Iterator::count) {
                Ok(count) if count > 0 => sent += count,
                // The error is of the first: the others may well be sent.
                Ok(_) | Err(_) => sent += 1,
            }
        }
    }
}
