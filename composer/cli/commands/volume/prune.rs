//! `compose volume prune`.

use composer_supervisor::host::volumes::{self, Shown};

use super::super::context::Context;
use super::super::{Error, Result, agreed};
use crate::options::VolumePrune;
use crate::render::amount::decimal;

/// Removes what no container has, once it is agreed to.
pub fn run(context: &mut Context, verb: &VolumePrune) -> Result {
    let which = if verb.all { "" } else { "anonymous " };
    let what = format!("This will remove all {which}volumes that no container has. Go on?");
    if !verb.force && !agreed(context, &what)? {
        return Ok(0);
    }
    let goes = |shown: &Shown| {
        shown.users.is_empty() && (verb.all || shown.anonymous) && super::is_wanted(shown, &verb.filter)
    };
    let (mut text, mut freed, mut code) = (String::new(), 0, 0);
    for shown in volumes::list()?.iter().filter(|shown| goes(shown)) {
        let size = volumes::size(&shown.volume.name);
        match volumes::remove(&shown.volume.name) {
            Ok(()) => {
                text += &format!("{}\n", shown.volume.name);
                freed += size;
            }
            Err(error) => code = context.tell(&Error::Host(error)),
        }
    }
    if !text.is_empty() {
        text = format!("Deleted Volumes:\n{text}\n");
    }
    text += &format!("Total reclaimed space: {}\n", decimal(freed));
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    Ok(code)
}
