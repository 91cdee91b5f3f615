//! The resolver inside each container: 127.0.0.11, answered by the supervisor over sockets in the container's
//! own namespace.
//!
//! [`Zone`] holds what names stand for, [`Server`] answers from it and forwards the rest, [`Attached`] is what it
//! listens on. The wire format is simple-dns's.

mod forward;
mod message;
mod question;
mod redirect;
mod resolv;
mod server;
mod sockets;
mod upstreams;
mod zone;

pub use resolv::{HOST_FILE, ResolvConf, host_resolv};
pub use server::{Listener, Server};
pub(crate) use sockets::open as open_sockets;
pub use sockets::{ADDRESS, Attached, PORT};
pub use upstreams::Upstreams;
pub use zone::{Lookup, ReverseLookup, Zone};
