//! `compose graph`: what a stack is made of. The files alone are read.

use composer_stack::Purpose;

use super::context::Context;
use super::output;
use super::{Error, Result};
use crate::options::{Graph, GraphFormat};
use crate::render::graph;

/// Prints the stack, or those of its services that are wanted.
pub fn run(context: &mut Context, verb: &Graph) -> Result {
    let loaded = context.load_with(Purpose::Config, |options| options.services.clone_from(&verb.services))?;
    let stack = loaded.graph();
    let output = verb.output.as_deref().filter(|path| !path.as_os_str().is_empty());
    let text = match verb.format {
        GraphFormat::Text => {
            let color = context.out.color && output.is_none();
            graph::text(&stack, &composer_plan::tiers(&stack), color)
        }
        GraphFormat::Mermaid => graph::mermaid(&stack),
        GraphFormat::Dot => graph::dot(&stack),
    };
    match output {
        Some(path) => output::write(path, text.as_bytes(), context.caller.owner)?,
        None => context.out.data(text.as_bytes()).map_err(Error::Output)?,
    }
    Ok(0)
}
