//! `compose attach`: what a service's main program says from now on, and our input for it.

use std::io::IsTerminal;

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Request};
use composer_supervisor::words;

use super::context::Context;
use super::follow::{Follow, Start};
use super::keys::DetachKeys;
use super::{Error, Result};
use crate::options::Attach;

/// Follows the program until it ends, which gives our status, or until the detach keys.
pub fn run(context: &mut Context, verb: &Attach) -> Result {
    let keys = DetachKeys::parse(&verb.detach_keys).map_err(Error::Usage)?;
    let stack = context.project()?;
    let Some(client) = Client::find(&stack)? else {
        return Err(Error::Usage(words::not_running(&verb.service, false)));
    };
    let request =
        protocol::Attach { service: verb.service.clone(), index: verb.index, ..protocol::Attach::default() };
    client.send(&Request::Attach(request), &[])?;
    let follow = Follow::new(&stack, client, Start::Now)?;
    let reads = !verb.no_stdin && follow.takes_input();
    if reads && follow.has_terminal() && !std::io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "service {:?} has a terminal and standard input is none: run `compose attach` in a terminal, or with `--no-stdin`",
            verb.service
        )));
    }
    follow.keys(reads.then_some(keys)).signals(verb.sig_proxy.unwrap_or(true)).run(context)
}
