//! The resolver inside each container: 127.0.0.11, answered by the supervisor over sockets in the container's
//! own namespace.
//!
//! A [`Zone`] holds what the names of one network stand for, a [`View`] is what one container sees of them, and the
//! stack's [`Server`] answers from it and forwards the rest; [`Attached`] is what it listens on. The wire format is
//! simple-dns's.

mod answer;
mod burst;
mod cache;
mod datagram;
mod forward;
mod message;
mod place;
mod question;
mod redirect;
mod resolv;
mod reverse;
mod server;
mod shared;
mod sockets;
mod stream;
mod upstreams;
mod view;
mod zone;

pub use resolv::{ResolvConf, host_resolv};
pub use server::{Listener, Server};
pub use shared::Neighbours;
pub use sockets::Attached;
pub(crate) use sockets::open as open_sockets;
pub use upstreams::Upstreams;
pub use view::{Forwarding, View};
pub use zone::{Entry, Zone};
