//! What `network inspect`, `volume inspect` and `image inspect` have in common.

use serde::Serialize;

use super::context::Context;
use super::{Error, Result};
use crate::options::InspectionFormat;
use crate::render::format::Inspection;

/// Docker's status where a template cannot be read (EX_USAGE of sysexits.h).
const UNREAD: u8 = 64;

/// Prints all that are found; the others, and those that the template fails for, are told afterwards. The example has all
/// fields of Docker's type.
pub fn print<T: Serialize>(
    context: &mut Context,
    format: &InspectionFormat,
    example: &str,
    found: impl Iterator<Item = Result<T>>,
) -> Result {
    let (mut documents, mut failures) = (Vec::new(), Vec::new());
    let format = match Inspection::parse(&format.text) {
        Ok(format) => format,
        Err(error) => {
            context.tell(&Error::Format(error));
            return Ok(UNREAD);
        }
    };
    for one in found {
        match one {
            Ok(document) => documents.push(document),
            Err(error) => failures.push(error),
        }
    }
    let (text, more) = format.render(&documents, example)?;
    context.out.data(text.as_bytes()).and_then(|()| context.out.flush()).map_err(Error::Output)?;
    failures.extend(more.into_iter().map(Error::Format));
    Ok(failures.iter().map(|error| context.tell(error)).last().unwrap_or(0))
}
