//! `compose port`: where a container's port is published.

use super::context::{self, Context};
use super::{Error, Result};
use crate::options::{Port, Protocol};

/// Prints the address that a port is published at. Nothing is published yet: it says so.
pub fn run(context: &mut Context, verb: &Port) -> Result {
    let stack = context.project()?;
    let containers = context::containers(&stack)?;
    context.check_services(std::slice::from_ref(&verb.service), &containers)?;
    let mut running = containers
        .iter()
        .filter(|container| container.service == verb.service && container.state.is_live())
        .peekable();
    if running.peek().is_none() {
        return Err(Error::Usage(format!("service {:?} is not running", verb.service)));
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
    Err(Error::Usage(format!(
        "no port {port}/{protocol} for container {name}: none of its ports is published"
    )))
}
