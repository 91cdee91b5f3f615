//! All that a container's namespace needs, in one call: its veth pairs, its addresses and routes, its kernel parameters,
//! the sockets of its resolver, and the redirect that leads port 53 to them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;

use futures_util::future::join_all;

use crate::dns::{self, Attached};
use crate::error::{Error, Result};
use crate::host::{Host, Inside, Plug};
use crate::netns;

/// What a container's namespace is to have.
#[derive(Debug, Clone, Default)]
pub struct Wiring {
    /// The networks it is on, in the order in which its interfaces appear.
    pub plugs: Vec<Plug>,
    /// Parameters below `net.`, set once the interfaces are there.
    pub sysctls: BTreeMap<String, String>,
}

/// Plugs a namespace into its networks and opens its resolver, all at the same time; its loopback goes up. The
/// sockets answer once they are given to [`crate::dns::Server::serve`]; queries wait in them until then. `limit` is done
/// when the links are there, before any of them is up inside: nothing has passed them yet.
///
/// To be awaited to its end: dropped half-way it leaves veth pairs, which [`Host::unplug`] finds by their names.
///
/// # Errors
/// The kernel's refusals, and those of `limit`; the veth pairs are removed again then.
pub async fn attach<E: From<Error>>(
    host: &Host,
    netns: OwnedFd,
    wiring: Wiring,
    limit: impl Future<Output = Result<(), E>>,
) -> Result<Attached, E> {
    netns::is_another(netns.as_fd())?;
    // Never closed, so the error cannot happen; going on without a turn would be harmless.
    let _turn = host.turns.acquire().await.ok();
    let entered = netns
        .try_clone()
        .map_err(|source| Error::kernel("keep open", "the container's network namespace", source))?;
    let (made, when_made) = mpsc::channel::<()>();
    let Wiring { plugs, sysctls } = wiring;
    let veths: Vec<String> = plugs.iter().map(|plug| plug.veth.clone()).collect();
    let pairs = plugs.clone();
    let inside = netns::run(entered, move || {
        let mut route = Inside::open()?;
        route.raise_loopback()?;
        let resolver = dns::open_sockets()?;
        // An end without a word: a pair could not be made, and whoever made it tells why.
        if when_made.recv().is_ok() {
            plugs.iter().try_for_each(|plug| route.configure(plug))?;
            set(&sysctls)?;
        }
        Ok(resolver)
    });
    let paired = join_all(pairs.iter().map(|plug| host.make_link(plug, netns.as_fd()))).await;
    let mut paired: Result<(), E> = paired.into_iter().collect::<Result<()>>().map_err(E::from);
    if paired.is_ok() {
        paired = limit.await;
    }
    if paired.is_ok() {
        // The thread may be gone, and its own error comes below.
        let _ = made.send(());
    }
    drop(made);
    let resolver = inside.await.map_err(E::from);
    let veths: Vec<&str> = veths.iter().map(String::as_str).collect();
    host.or_unplug(&veths, paired.and(resolver)).await
}

/// Sets up a namespace that is on no network: its loopback, and its parameters.
///
/// # Errors
/// The kernel's refusals.
pub async fn isolate(netns: OwnedFd, sysctls: BTreeMap<String, String>) -> Result<()> {
    netns::run(netns, move || {
        Inside::open()?.raise_loopback()?;
        set(&sysctls)
    })
    .await
}

/// Sets parameters of the thread's namespace.
fn set(sysctls: &BTreeMap<String, String>) -> Result<()> {
    sysctls.iter().try_for_each(|(key, value)| {
        // As sysctl(8) has it: what comes first separates, so `net/ipv4/conf/eth0.1/forwarding` is one too.
        let path = if key.find('/').is_some_and(|slash| key.find('.').is_none_or(|dot| slash < dot)) {
            key.clone()
        } else {
            key.chars()
                .map(|c| match c {
                    '.' => '/',
                    '/' => '.',
                    other => other,
                })
                .collect()
        };
        // Below `net` alone they are the namespace's own; no key leads out of it.
        let leads_elsewhere = path.split('/').any(|part| ["", ".", ".."].contains(&part));
        let set = if leads_elsewhere || !path.starts_with("net/") {
            Err(std::io::ErrorKind::InvalidInput.into())
        } else {
            std::fs::write(format!("/proc/sys/{path}"), value)
        };
        set.map_err(|source| Error::Parameter { key: key.clone(), value: value.clone(), source })
    })
}

/// Opens the resolver of a namespace that is plugged in already, when those who held its sockets are gone. The
/// redirect is replaced in one transaction.
///
/// # Errors
/// When the namespace cannot be entered or the sockets cannot be opened.
pub async fn reattach_dns(netns: OwnedFd) -> Result<Attached> {
    netns::run(netns, dns::open_sockets).await
}
