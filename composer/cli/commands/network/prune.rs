//! `compose network prune`.

use composer_supervisor::host::networks;

use super::super::context::Context;
use super::super::{Error, Result, agreed};
use crate::options::NetworkPrune;

/// Removes what `create` has made and no stack is on, once it is agreed to.
pub fn run(context: &mut Context, verb: &NetworkPrune) -> Result {
    let what = "This will remove all networks of `network create` that no stack is on. Go on?";
    if !verb.force && !agreed(context, what)? {
        return Ok(0);
    }
    let (mut text, mut code) = (String::new(), 0);
    for shown in networks::list()?.iter().filter(|shown| super::is_wanted(shown, &verb.filter)) {
        let name = &shown.network.name;
        if !shown.containers.is_empty() || !networks::stacks_on(name).is_empty() {
            continue;
        }
        match networks::remove(name) {
            Ok(()) => text += &format!("{name}\n"),
            Err(error) => code = context.tell(&Error::Host(error)),
        }
    }
    if !text.is_empty() {
        context.out.data(format!("Deleted Networks:\n{text}\n").as_bytes()).map_err(Error::Output)?;
    }
    Ok(code)
}
