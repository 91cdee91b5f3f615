//! `compose volume create`.

use std::collections::BTreeMap;

use composer_stack::wrong_volume_options;
use composer_supervisor::host::volumes;

use super::super::context::Context;
use super::super::{Error, Result};
use crate::options::VolumeCreate;

/// Makes the volume, and prints its name.
pub fn run(context: &mut Context, verb: VolumeCreate) -> Result {
    let is_name = |name: &String| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    if let Some(name) = verb.name.as_ref().filter(|name| !is_name(name)) {
        let what = "letters, digits, `_`, `.` and `-`, beginning with a letter or digit";
        return Err(Error::Usage(format!("`{name}` is not a name of a volume: {what}")));
    }
    let options: BTreeMap<String, String> = verb.options.into_iter().collect();
    if let Some(wrong) = wrong_volume_options(&options) {
        return Err(Error::Usage(wrong));
    }
    let name = volumes::create(verb.name, verb.labels.into_iter().collect(), options)?;
    context.out.data(format!("{name}\n").as_bytes()).map_err(Error::Output)?;
    Ok(0)
}
