//! Many datagrams by one system call each way (recvmmsg(2), sendmmsg(2)).

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use super::answer::EDNS_LIMIT;

/// How many datagrams of one container are answered before the others have their turn.
pub(super) const BURST: usize = 32;
/// Bytes of a query that are looked at: what we say we take.
const LONGEST: usize = EDNS_LIMIT as usize;

/// Buffers for a burst of queries and their answers. One for all containers: it is used between two waits only.
pub(super) struct Burst {
    queries: Vec<[u8; LONGEST]>,
    received: Vec<Option<(usize, SocketAddrV4)>>,
    receiving: MultiHeaders<SockaddrIn>,
    /// The first ones are to be sent, to these in turn; the next is where the next answer goes.
    answers: Vec<Vec<u8>>,
    to: Vec<Option<SockaddrIn>>,
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
        self.to.push(Some(to.into()));
    }

    /// Sends the answers, without waiting.
    pub(super) fn send(&mut self, socket: &impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd().as_raw_fd();
        let mut sent = 0;
        while sent < self.to.len() {
            let slices: Vec<_> =
                self.answers[sent..self.to.len()].iter().map(|answer| [IoSlice::new(answer)]).collect();
            let outcome =
                sendmmsg(socket, &mut self.sending, &slices, &self.to[sent..], [], MsgFlags::MSG_DONTWAIT);
            match outcome.map(Iterator::count) {
                Ok(count) if count > 0 => sent += count,
                // The error is of the first: the others may well be sent.
                Ok(_) | Err(_) => sent += 1,
            }
        }
        Ok(())
    }
}
