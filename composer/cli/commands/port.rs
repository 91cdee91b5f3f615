//! `compose port`: where a container's port is published.

use super::context::{self, Context};
use super::{Error, Result};
use crate::options::{Port, Protocol};
use crate::render::ports;
use composer_supervisor::protocol::Publisher;
use composer_supervisor::words;

/// Prints the address that a port is published at, the first where there are several.
pub fn run(context: &mut Context, verb: &Port) -> Result {
    let stack = context.project()?;
    let containers = context::containers(&stack)?;
    context.check_services(std::slice::from_ref(&verb.service), &containers)?;
    let mut running = containers
        .iter()
        .filter(|container| container.service == verb.service && container.state.is_live())
        .peekable();
    if running.peek().is_none() {
        let exists = containers.iter().any(|container| container.service == verb.service);
        return Err(Error::Usage(words::not_running(&verb.service, exists)));
    }
    let Some(container) = running.find(|one| verb.index.is_none_or(|index| one.index == index)) else {
        let index = verb.index.unwrap_or_default();
        return Err(Error::Usage(format!(
            "service {:?} is not running container #{index}: {}",
            verb.service,
            context::range(&containers, &verb.service)
        )));
    };
    let protocol = match verb.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let (port, name) = (verb.private_port, &container.name);
    let is_it = |one: &&Publisher| one.target == port && one.protocol == protocol;
    let found = container.publishers.iter().filter(is_it).find_map(|one| Some((one.address?, one.published)));
    let Some((address, published)) = found else {
        let all: Vec<_> = container.publishers.iter().filter(|one| one.address.is_some()).collect();
        let known = match ports::line(&all.into_iter().cloned().collect::<Vec<_>>()) {
            known if known.is_empty() => "none of its ports is published".to_owned(),
            known => known,
        };
        return Err(Error::Usage(format!("no port {port}/{protocol} for container {name}: {known}")));
    };
    context.out.line(&ports::joined(address, &published.to_string())).map_err(Error::Output)?;
    Ok(0)
}
