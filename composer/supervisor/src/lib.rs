//! Behind a running stack: the supervisor, the keeper, and the client that talks to them.

pub use composer_sandbox::archive;
pub use identifier::identifier;

mod channel;
pub mod client;
mod clock;
mod engine;
pub mod events;
pub mod host;
mod identifier;
mod keeper;
pub mod logs;
pub mod paths;
pub mod protocol;
mod records;
mod starting;
pub mod words;

use std::io::Write;
use std::process::ExitCode;

/// Runs the keeper, the supervisor or a container's init where the program was started as one; `None` where it is the CLI.
pub fn entry() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let name = args.next()?;
    let stack = args.next().and_then(|stack| stack.into_string().ok());
    match (name.to_str()?, stack) {
        ("compose-keeper", Some(stack)) => Some(keeper::run(&stack)),
        ("compose-supervisor", Some(stack)) => Some(engine::run(&stack)),
        (composer_sandbox::init::NAME, _) => composer_sandbox::init::run(),
        _ => None,
    }
}

/// Writes what nobody else can be told to standard error: the stack's `supervisor.log`.
fn diagnose(text: &str) {
    // Where that fails too there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}
