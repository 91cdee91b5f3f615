//! Forwarding: a query goes to other resolvers as the bytes it came as, under an id of our own, and the answer comes
//! back as theirs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use nix::sys::socket::{MsgFlags, recv};
use simple_dns::RCODE;
use tokio::io::Interest;
use tokio::time::{Instant, sleep_until};

use super::message::{self, Transport};
use super::place::Place;
use super::question::{self, Head};
use super::stream::{read_framed, write_framed};
use super::upstreams::{Ranking, Upstreams};
use super::view::Forwarding;

/// How long a resolver is waited for before the next is asked as well.
const HEAD_START: Duration = Duration::from_secs(1);
/// How long one question may take: within the 5 s that clients wait (resolv.conf(5), timeout).
const PATIENCE: Duration = Duration::from_millis(4500);
/// How often resolvers are asked, all together: where there is one, a packet may be lost.
const TRIES: usize = 3;
/// How many questions are under way at the same time, for a whole stack; each holds a socket.
const UNDER_WAY: usize = 512;
/// Bytes of the longest UDP payload.
const LONGEST: usize = 65535;

/// What all containers of a stack share: the host's resolvers, and room for questions under way.
#[derive(Debug)]
pub(super) struct Forwarder {
    host: Rc<Ranking>,
    under_way: Cell<usize>,
    /// One buffer to receive into for all: it is used between two waits only.
    scratch: RefCell<Box<[u8]>>,
}

impl Forwarder {
    pub(super) fn new(upstreams: Upstreams) -> Self {
        Self {
            host: Rc::new(Ranking::new(upstreams)),
            under_way: Cell::new(0),
            scratch: RefCell::new(vec![0; LONGEST].into_boxed_slice()),
        }
    }
}

/// Asks others on behalf of one container.
#[derive(Debug)]
pub(super) struct Asker {
    shared: Rc<Forwarder>,
    /// Whom, and from where; `None` where nobody is to be asked.
    route: Option<(Rc<Ranking>, Place)>,
    under_way: Cell<usize>,
}

impl Asker {
    /// `inside` is called for the container's place where its own resolvers are asked.
    pub(super) fn new(
        shared: Rc<Forwarder>,
        forwarding: &Forwarding,
        inside: impl FnOnce() -> io::Result<Place>,
    ) -> io::Result<Self> {
        let route = match forwarding {
            Forwarding::Host => Some((Rc::clone(&shared.host), Place::Host)),
            Forwarding::Servers(servers) => Some((Rc::new(Ranking::new(Upstreams::at(servers))), inside()?)),
            Forwarding::Nobody => None,
        };
        Ok(Self { shared, route, under_way: Cell::new(0) })
    }

    /// Whether there is anyone to ask.
    pub(super) fn has_upstreams(&self) -> bool {
        self.route.as_ref().is_some_and(|(ranking, _)| !ranking.servers().is_empty())
    }

    /// Room for one more question. A container may have as many under way as there is room left for others: one that
    /// floods leaves half of all room free, two a third, and so on.
    pub(super) fn admit(self: &Rc<Self>) -> Option<Admitted> {
        let free = UNDER_WAY.saturating_sub(self.shared.under_way.get());
        if self.under_way.get() >= free {
            return None;
        }
        self.under_way.set(self.under_way.get() + 1);
        self.shared.under_way.set(self.shared.under_way.get() + 1);
        Some(Admitted { asker: Rc::clone(self) })
    }
}

/// One question that may be under way.
#[derive(Debug)]
pub(super) struct Admitted {
    asker: Rc<Asker>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Asker { shared, under_way, .. } = &*self.asker;
        under_way.set(under_way.get().saturating_sub(1));
        shared.under_way.set(shared.under_way.get().saturating_sub(1));
    }
}

impl Admitted {
    /// The answer of the first resolver that has one. Where none has, the last refusal, else SERVFAIL; `None` only
    /// for a message without a header.
    pub(super) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let failure = || message::refusal(query, RCODE::ServerFailure);
        let Some((ranking, place)) = &self.asker.route else {
            return failure();
        };
        let until = Instant::now() + PATIENCE;
        let mut waiting: VecDeque<_> = ranking.servers().into_iter().collect();
        if waiting.is_empty() {
            return failure();
        }
        waiting = waiting.iter().copied().cycle().take(TRIES).collect();
        let mut asked = FuturesUnordered::new();
        let mut silent = Vec::new();
        let mut refused = None;
        loop {
            match waiting.pop_front() {
                Some(server) => {
                    silent.push(server);
                    asked.push(async move { (server, self.reach(place, server, query, transport).await) });
                }
                None if asked.is_empty() => break,
                None => {}
            }
            let next = if waiting.is_empty() { until } else { until.min(Instant::now() + HEAD_START) };
            let (server, outcome) = tokio::select! {
                Some(done) = asked.next() => done,
                () = sleep_until(next) => {
                    if next == until { break }
                    continue;
                }
            };
            silent.retain(|other| *other != server);
            match outcome {
                Ok(answer) => match question::response_code(&answer) {
                    // Another resolver may know better.
                    Some(
                        RCODE::ServerFailure | RCODE::Refused | RCODE::NotImplemented | RCODE::FormatError,
                    ) => refused = Some(answer),
                    _ => {
                        silent.iter().for_each(|server| ranking.demote(*server));
                        return Some(answer);
                    }
                },
                Err(_) => ranking.demote(server),
            }
            // What it has said it would say again.
            waiting.retain(|other| *other != server);
        }
        silent.iter().for_each(|server| ranking.demote(*server));
        refused.or_else(failure)
    }

    /// What a server answers; one that does not understand what comes after the question (EDNS) is asked for that alone
    /// (RFC 6891, 6.2.2).
    async fn reach(
        &self,
        place: &Place,
        server: SocketAddr,
        query: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let answer = self.exchange(place, server, query, transport).await?;
        let head = Head::of(query);
        let may_be_too_much = head.bytes().len() < query.len();
        match question::response_code(&answer) {
            Some(RCODE::FormatError | RCODE::NotImplemented) if may_be_too_much => {
                // The first answer is one, where this brings none.
                Ok(self.exchange(place, server, head.bytes(), transport).await.unwrap_or(answer))
            }
            _ => Ok(answer),
        }
    }

    /// One question and its answer, under an id that this server alone is told.
    async fn exchange(
        &self,
        place: &Place,
        server: SocketAddr,
        query: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let too_short = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut asked = query.to_vec();
        asked.get_mut(..2).ok_or_else(too_short)?.copy_from_slice(&random_id());
        let mut answer = match transport {
            Transport::Udp => self.over_udp(place, server, &asked).await?,
            Transport::Tcp => over_tcp(place, server, &asked).await?,
        };
        let id = query.get(..2).ok_or_else(too_short)?;
        answer.get_mut(..2).ok_or_else(too_short)?.copy_from_slice(id);
        Ok(answer)
    }

    async fn over_udp(&self, place: &Place, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        // A socket for each query has a random port, and connected takes packets of this server only: with the id,
        // what a forger has to guess.
        let socket = place.udp(server).await?;
        socket.connect(server).await?;
        socket.send(query).await?;
        loop {
            // A server that is not there is told of as an error alone, which does not count as readable. The runtime
            // waits for both at once, but tries one at a time.
            let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
            let interest = if ready.is_readable() { Interest::READABLE } else { Interest::ERROR };
            let mut scratch = self.asker.shared.scratch.borrow_mut();
            let receive = || Ok(recv(socket.as_raw_fd(), &mut scratch, MsgFlags::MSG_DONTWAIT)?);
            match socket.try_io(interest, receive) {
                Ok(length) if question::answers(query, &scratch[..length]) => {
                    return Ok(scratch[..length].to_vec());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn over_tcp(place: &Place, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = place.tcp(server).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if question::answers(query, &answer) {
        Ok(answer)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question"))
    }
}

/// An id that cannot be guessed: the standard library's keyed hash, of a new random key each time.
fn random_id() -> [u8; 2] {
    let [one, other, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    [one, other]
}
