//! `compose down`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use composer_supervisor::client::Client;
use composer_supervisor::host::images;
use composer_supervisor::protocol::{self, Request};
use composer_supervisor::{host, paths};

use super::context::Context;
use super::{Result, work};
use crate::options::{Down, RemoveImages};

/// Takes a stack away. It needs the project's name only, so it works where the file is wrong or gone.
pub fn run(context: &mut Context, verb: Down) -> Result {
    let stack = context.project()?;
    let Some(services) = context.named(&stack, &verb.services)? else {
        return work::idle(context, &stack, "down", verb.dry_run);
    };
    let named = if verb.volumes && services.is_empty() { context.volumes()? } else { Vec::new() };
    let found = match Client::find(&stack)? {
        // Volumes outlive everything else of a stack.
        None if named.iter().any(|name| paths::volume(name).is_dir()) => Some(Client::find_or_start(&stack)?),
        found => found,
    };
    let Some(client) = found else {
        if verb.dry_run {
            return work::idle(context, &stack, "down", true);
        }
        Client::sweep(&stack)?;
        context.out.warning(&format!("No resource found to remove for project \"{stack}\"."));
        return Ok(0);
    };
    let images = match verb.rmi {
        Some(RemoveImages::All) if !verb.dry_run => used(&stack, &services)?,
        Some(_) | None => BTreeMap::new(),
    };
    let request = Request::Down(protocol::Down {
        services,
        timeout: verb.timeout.map(Duration::from_secs),
        volumes: verb.volumes,
        named,
        dry_run: verb.dry_run,
    });
    let code = work::ask_of(context, &client, &stack, "down", &request)?;
    remove(context, &images);
    Ok(code)
}

/// The images of a stack's containers, or of those of some services: ids by name.
fn used(stack: &str, services: &[String]) -> Result<BTreeMap<String, String>> {
    let uses = images::in_use()?
        .into_iter()
        .filter(|used| used.stack == stack && (services.is_empty() || services.contains(&used.service)));
    Ok(uses.map(|used| (used.reference, used.id)).collect())
}

/// What others stand on stays, and is told.
fn remove(context: &mut Context, images: &BTreeMap<String, String>) {
    for (name, id) in images {
        let removed = match images::remove(name, Path::new("/"), false) {
            // A place on disk is written in the file from the file's folder.
            Err(host::Error::NoImage { .. }) => images::remove(id, Path::new("/"), false),
            removed => removed,
        };
        match removed {
            Ok(_) => context.out.note(&format!(" Image {name}  Removed")),
            Err(host::Error::NoImage { .. }) => {}
            Err(error) => context.out.warning(&error.to_string()),
        }
    }
}
