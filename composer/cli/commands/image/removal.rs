//! `compose image rm` and `compose image prune`.

use std::io::IsTerminal;

use composer_supervisor::host;
use composer_supervisor::host::images::{self, Gone};

use super::super::context::Context;
use super::super::prompt::{self, Echo};
use super::super::{Error, Result, doing};
use super::filter::Filters;
use crate::options::{ImagePrune, ImageRm};
use crate::render::amount;

/// Removes images by name or id; goes on after a failure, as Docker does.
pub fn remove(context: &mut Context, verb: &ImageRm) -> Result {
    let mut code = 0;
    let folder = std::env::current_dir().map_err(doing("find the current folder"))?;
    for name in &verb.images {
        match images::remove(name, &folder, verb.force) {
            Ok(gone) => tell(context, &gone, "Untagged", "Deleted")?,
            Err(host::Error::NoImage { .. }) if verb.force => {}
            Err(error) => code = context.tell(&Error::Host(error)),
        }
    }
    Ok(code)
}

/// Removes what is of no use.
pub fn prune(context: &mut Context, verb: &ImagePrune) -> Result {
    let filters = Filters::parse(&verb.filter, &["until", "label", "label!"])?;
    if !verb.force && !confirmed(context, verb.all)? {
        return Ok(0);
    }
    let gone = images::prune(verb.all, &|image| filters.agree(image))?;
    if !gone.references.is_empty() {
        context.out.line("Deleted Images:").map_err(Error::Output)?;
        tell(context, &gone, "untagged", "deleted")?;
        context.out.line("").map_err(Error::Output)?;
    }
    let freed = format!("Total reclaimed space: {}", amount::decimal(gone.bytes));
    context.out.line(&freed).map_err(Error::Output)?;
    Ok(0)
}

fn tell(context: &mut Context, gone: &Gone, untagged: &str, deleted: &str) -> Result<()> {
    let names = gone.references.iter().map(|name| format!("{untagged}: {name}"));
    for line in names.chain(gone.ids.iter().map(|id| format!("{deleted}: {id}"))) {
        context.out.line(&line).map_err(Error::Output)?;
    }
    Ok(())
}

/// Asks on a terminal. Where there is none, somebody has to have said so.
fn confirmed(context: &mut Context, all: bool) -> Result<bool> {
    let what = match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "this will remove {what}: say `--force` where nobody can be asked"
        )));
    }
    let question = format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] ");
    let answer = prompt::ask(context, &question, Echo::On)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
