//! The resolver of a stack: one server, a pair of sockets for each container.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use simple_dns::RCODE;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, spawn_local};

use super::answer::Answer;
use super::burst::Burst;
use super::cache::Cache;
use super::forward::{Admitted, Asker, Forwarder};
use super::message::{self, Asked, Transport, Verdict};
use super::place::Place;
use super::upstreams::Upstreams;
use super::view::{OwnNames, View};
use super::{datagram, stream};
use crate::error::{Error, Result};

/// The resolver of a stack.
#[derive(Debug, Clone)]
pub struct Server {
    forwarder: Rc<Forwarder>,
    own: Rc<OwnNames>,
    burst: Rc<RefCell<Burst>>,
}

/// One container's sockets being answered; ends when it is dropped.
#[derive(Debug)]
pub struct Listener {
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// A server that forwards to these resolvers what a view with [`Forwarding::Host`](super::Forwarding) does not
    /// know.
    pub fn new(host: Upstreams) -> Self {
        Self { forwarder: Rc::new(Forwarder::new(host)), own: Rc::default(), burst: Rc::default() }
    }

    /// Says which names (of services, containers, aliases) and networks are the stack's own, in place of those it
    /// said before. Such a name does not exist while no container that the asker sees has it: nobody else is asked.
    pub fn set_own(
        &self,
        names: impl IntoIterator<Item = String>,
        networks: impl IntoIterator<Item = String>,
    ) {
        self.own.set(names, networks);
    }

    /// Answers what arrives at a container's sockets, from what the container sees. Must be called within a
    /// `LocalSet`.
    ///
    /// # Errors
    /// When the descriptors are no sockets that can be waited for.
    pub fn serve(&self, view: Rc<View>, udp: OwnedFd, tcp: OwnedFd) -> Result<Listener> {
        let failed = |source| Error::kernel("serve", "a container's resolver", source);
        let (udp, tcp) = adopt(udp, tcp).map_err(failed)?;
        let asker =
            Asker::new(Rc::clone(&self.forwarder), &view.forwarding, || Place::of(&udp)).map_err(failed)?;
        let client = Rc::new(Client {
            view,
            own: Rc::clone(&self.own),
            asker: Rc::new(asker),
            cache: Cache::default(),
        });
        let datagrams = datagram::serve(Rc::clone(&client), Rc::new(udp), Rc::clone(&self.burst));
        Ok(Listener { tasks: [spawn_local(datagrams), spawn_local(stream::serve(client, tcp))] })
    }
}

fn adopt(udp: OwnedFd, tcp: OwnedFd) -> io::Result<(UdpSocket, TcpListener)> {
    let (udp, tcp) = (std::net::UdpSocket::from(udp), std::net::TcpListener::from(tcp));
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?))
}

/// One container that asks.
#[derive(Debug)]
pub(super) struct Client {
    view: Rc<View>,
    own: Rc<OwnNames>,
    asker: Rc<Asker>,
    cache: Cache,
}

/// What follows from a message at once.
pub(super) enum Step {
    Send(Answer),
    Ask(Admitted),
    Nothing,
}

impl Client {
    pub(super) fn step(&self, message: &[u8], transport: Transport) -> Step {
        let asked = match message::examine(&self.view, message, transport) {
            Verdict::Answer(answer) => return Step::Send(answer),
            Verdict::Drop => return Step::Nothing,
            Verdict::Forward(asked) => asked,
        };
        let code = if self.is_nobodys(&asked) {
            RCODE::NameError
        } else if let Some(admitted) = self.asker.has_upstreams().then(|| self.asker.admit()).flatten() {
            return Step::Ask(admitted);
        } else {
            RCODE::ServerFailure
        };
        message::refusal(message, code).map_or(Step::Nothing, |bytes| Step::Send(Answer::fixed(bytes)))
    }

    /// Whether it is known without asking that nobody has the name.
    fn is_nobodys(&self, asked: &Asked) -> bool {
        let is_own = asked.name.as_ref().is_some_and(|name| self.own.have(name));
        let is_for_searching = self.view.keeps_short_names && asked.wants_address;
        is_own || asked.is_short() && (is_for_searching || !self.asker.has_upstreams())
    }

    /// Answers a datagram into `to`, by what was answered before where that still holds.
    pub(super) fn answer_into(&self, query: &[u8], to: &mut Vec<u8>) -> Next {
        let version = self.view.version();
        if self.cache.answer(version, query, to) {
            return Next::Send;
        }
        match self.step(query, Transport::Udp) {
            Step::Send(answer) => {
                self.cache.keep(version, query, &answer);
                *to = answer.bytes;
                Next::Send
            }
            Step::Ask(admitted) => Next::Ask(admitted),
            Step::Nothing => Next::Nothing,
        }
    }
}

/// What is to be done with a datagram once it was looked at.
pub(super) enum Next {
    Send,
    Ask(Admitted),
    Nothing,
}
