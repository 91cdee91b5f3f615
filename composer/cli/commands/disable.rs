//! `compose disable`: takes back what `compose enable` has done.

use std::fs;
use std::io;

use super::context::Context;
use super::{Result, doing, enable, unit};
use crate::options::Disable;

/// Removes the unit and its link. It needs the project's name only.
pub fn run(context: &mut Context, verb: &Disable) -> Result {
    let stack = context.project()?;
    let path = unit::path(&verb.directory, &stack)?;
    if let Some(foreign) = enable::is_foreign(&path)? {
        return Err(foreign);
    }
    let link = enable::link(&path);
    let there: Vec<_> = [link, path].into_iter().filter(|file| fs::symlink_metadata(file).is_ok()).collect();
    if there.is_empty() {
        let folder = verb.directory.display();
        context.out.warning(&format!("stack {stack} is not enabled: {folder} has no unit of it"));
        return Ok(0);
    }
    for file in there {
        if !verb.dry_run {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(doing(format!("remove {}", file.display()))(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let done = if verb.dry_run { "would be removed" } else { "is removed" };
        context.out.note(&format!("{} {done}", file.display()));
    }
    Ok(0)
}
