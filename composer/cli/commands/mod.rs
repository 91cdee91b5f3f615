//! The verbs, one file each, and what they share.

mod config;
pub mod context;
pub mod copy;
mod down;
mod exec;
mod journal;
mod logs;
mod output;
mod ps;
mod session;
mod signals;
mod sources;
mod up;
mod version;
mod wait;
mod watch;
mod work;

use std::io;
use std::process::ExitCode;

use composer_stack::LoadError;
use composer_supervisor::{client, protocol};

use crate::options::{Options, Verb};
use context::Context;

/// What the shell shows for a program that SIGPIPE has ended: 128 + 13.
const PIPE_CLOSED: u8 = 141;
/// The same for SIGINT.
const INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files are wrong.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The supervisor could not be reached.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The supervisor could not do it.
    #[error("{}", .0.message)]
    Refused(protocol::Failure),
    /// Standard output takes no more.
    #[error("write to standard output: {0}")]
    Output(io::Error),
    /// A system call failed.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// What was asked makes no sense.
    #[error("{0}")]
    Usage(String),
}

pub type Result<T = u8> = std::result::Result<T, Error>;

/// Words an error of the system.
fn doing<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |error| Error::Io(what, error.into())
}

/// Runs what the command line says.
pub fn run(options: Options) -> ExitCode {
    let dry_run = options.global.dry_run;
    let mut context = Context::new(options.global);
    let mut verb = options.verb;
    match &mut verb {
        Verb::Up(up) => up.dry_run |= dry_run,
        Verb::Down(down) => down.dry_run |= dry_run,
        Verb::Exec(_) | Verb::Cp(_) | Verb::Watch(_) if dry_run => {
            let error =
                Error::Usage("this cannot be tried without doing it: leave `--dry-run` out".to_owned());
            return ExitCode::from(context.tell(&error));
        }
        Verb::Cp(_) if dry_run => {
            let error =
                Error::Usage("`cp` cannot be tried without doing it: leave `--dry-run` out".to_owned());
            return ExitCode::from(context.tell(&error));
        }
        Verb::Ps(_)
        | Verb::Logs(_)
        | Verb::Exec(_)
        | Verb::Cp(_)
        | Verb::Watch(_)
        | Verb::Config(_)
        | Verb::Version(_) => {}
    }
    let result = match verb {
        Verb::Up(verb) => up::run(&mut context, verb),
        Verb::Down(verb) => down::run(&mut context, verb),
        Verb::Ps(verb) => ps::run(&mut context, &verb),
        Verb::Logs(verb) => logs::run(&mut context, &verb),
        Verb::Exec(verb) => exec::run(&mut context, verb),
        Verb::Watch(verb) => watch::run(&mut context, verb),
        Verb::Cp(verb) => copy::run(&mut context, verb),
        Verb::Config(verb) => config::run(&mut context, &verb),
        Verb::Version(verb) => version::run(&mut context, &verb),
    };
    let result = result.and_then(|code| context.out.flush().map(|()| code).map_err(Error::Output));
    let code = match result {
        Ok(code) => code,
        // Whoever read the output has seen enough: `compose logs | head` is no failure to tell of.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => PIPE_CLOSED,
        Err(error) => context.tell(&error),
    };
    ExitCode::from(code)
}
