//! The verbs, one file each, and what they share.

mod attach;
mod await_end;
mod bringing;
pub mod commit;
mod config;
pub mod context;
pub mod copy;
mod create;
mod creating;
mod disable;
mod doctor;
mod down;
mod enable;
mod events;
mod exec;
pub mod export;
mod filtered;
mod follow;
mod graph;
mod image;
mod images;
mod inspecting;
mod journal;
mod keys;
mod kill;
mod login;
mod logs;
mod ls;
mod marks;
mod network;
mod output;
mod pause;
mod port;
mod prompt;
mod ps;
mod pull;
mod pulling;
mod push;
mod remove;
mod restart;
mod run;
mod scale;
mod session;
mod set;
mod signals;
mod sources;
mod start;
mod stats;
mod stop;
mod top;
mod unit;
mod up;
mod version;
mod volume;
mod wait;
mod watch;
mod watching;
mod work;

use std::io;
use std::process::ExitCode;

use composer_stack::LoadError;
use composer_supervisor::{client, host, protocol};

use crate::options::{Options, Verb};
use crate::render::format;
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
    /// The host could not be asked.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The supervisor could not do it.
    #[error("{0}")]
    Refused(protocol::Failure),
    /// Standard output takes no more.
    #[error("write to standard output: {0}")]
    Output(io::Error),
    /// A system call failed.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// Somebody wants it no more.
    #[error("stopped: nothing half-made is left")]
    Interrupted,
    /// What `--format` says cannot be done.
    #[error(transparent)]
    Format(#[from] format::Failure),
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

/// Asks; whatever is no yes is a no.
fn agreed(context: &mut Context, what: &str) -> Result<bool> {
    context.out.data(format!("? {what} (y/N) ").as_bytes()).map_err(Error::Output)?;
    context.out.flush().map_err(Error::Output)?;
    let mut answer = String::new();
    let length = io::stdin().read_line(&mut answer).map_err(doing("read the answer"))?;
    if length == 0 {
        // Whoever has closed it sees a whole line all the same.
        context.out.line("").map_err(Error::Output)?;
    }
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes" | "1" | "t" | "true" | "on"))
}

/// Runs what the command line says.
pub fn run(options: Options) -> ExitCode {
    let dry_run = options.global.dry_run;
    let mut context = Context::new(options.global);
    let mut verb = options.verb;
    let result = if dry_run { try_only(&mut verb) } else { Ok(()) };
    let result = result.and_then(|()| dispatch(&mut context, verb));
    let result = result.and_then(|code| context.out.flush().map(|()| code).map_err(Error::Output));
    let code = match result {
        Ok(code) => code,
        // Whoever read the output has seen enough: `compose logs | head` is no failure to tell of.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => PIPE_CLOSED,
        Err(error) => context.tell(&error),
    };
    ExitCode::from(code)
}

/// Takes `--dry-run` before the verb for the verb's own.
fn try_only(verb: &mut Verb) -> Result<()> {
    match verb {
        Verb::Up(up) => up.dry_run = true,
        Verb::Down(down) => down.dry_run = true,
        Verb::Create(create) => create.dry_run = true,
        Verb::Scale(scale) => scale.dry_run = true,
        Verb::Start(start) => start.dry_run = true,
        Verb::Stop(stop) => stop.dry_run = true,
        Verb::Restart(restart) => restart.dry_run = true,
        Verb::Rm(remove) => remove.dry_run = true,
        Verb::Kill(kill) => kill.dry_run = true,
        Verb::Set(set) => set.dry_run = true,
        Verb::Pause(pause) | Verb::Unpause(pause) => pause.dry_run = true,
        Verb::Run(run) => run.dry_run = true,
        Verb::Pull(pull) => pull.dry_run = true,
        Verb::Push(push) => push.dry_run = true,
        Verb::Enable(verb) => verb.print = true,
        Verb::Disable(verb) => verb.dry_run = true,
        Verb::Exec(_)
        | Verb::Attach(_)
        | Verb::Cp(_)
        | Verb::Commit(_)
        | Verb::Watch(_)
        | Verb::Network(_)
        | Verb::Image(_)
        | Verb::Login(_)
        | Verb::Logout(_)
        | Verb::Volume(_) => {
            let why = "this cannot be tried without doing it: leave `--dry-run` out";
            return Err(Error::Usage(why.to_owned()));
        }
        Verb::Wait(_) | Verb::Unit(_) => {}
        Verb::Ps(_) | Verb::Ls(_) | Verb::Logs(_) | Verb::Events(_) | Verb::Top(_) | Verb::Stats(_) => {}
        Verb::Images(_) | Verb::Volumes(_) | Verb::Port(_) | Verb::Export(_) => {}
        Verb::Config(_) | Verb::Graph(_) | Verb::Doctor(_) | Verb::Version(_) => {}
    }
    Ok(())
}

fn dispatch(context: &mut Context, verb: Verb) -> Result {
    match verb {
        Verb::Up(verb) => up::run(context, verb),
        Verb::Down(verb) => down::run(context, verb),
        Verb::Create(verb) => create::run(context, verb),
        Verb::Scale(verb) => scale::run(context, verb),
        Verb::Start(verb) => start::run(context, verb),
        Verb::Stop(verb) => stop::run(context, verb),
        Verb::Restart(verb) => restart::run(context, verb),
        Verb::Rm(verb) => remove::run(context, verb),
        Verb::Ps(verb) => ps::run(context, &verb),
        Verb::Logs(verb) => logs::run(context, &verb),
        Verb::Exec(verb) => exec::run(context, verb),
        Verb::Enable(verb) => enable::run(context, &verb),
        Verb::Disable(verb) => disable::run(context, &verb),
        Verb::Unit(verb) => unit::run(context, &verb),
        Verb::Events(verb) => events::run(context, &verb),
        Verb::Ls(verb) => ls::run(context, &verb),
        Verb::Network(verb) => network::run(context, verb),
        Verb::Pull(verb) => pull::run(context, &verb),
        Verb::Push(verb) => push::run(context, &verb),
        Verb::Images(verb) => images::run(context, &verb),
        Verb::Image(verb) => image::run(context, verb),
        Verb::Login(verb) => login::run(context, verb),
        Verb::Logout(verb) => login::out(context, &verb),
        Verb::Volume(verb) => volume::run(context, verb),
        Verb::Volumes(verb) => volume::of_stack(context, &verb),
        Verb::Wait(verb) => await_end::run(context, &verb),
        Verb::Top(verb) => top::run(context, &verb),
        Verb::Port(verb) => port::run(context, &verb),
        Verb::Stats(verb) => stats::run(context, &verb),
        Verb::Kill(verb) => kill::run(context, verb),
        Verb::Set(verb) => set::run(context, verb),
        Verb::Pause(verb) => pause::run(context, verb, true),
        Verb::Unpause(verb) => pause::run(context, verb, false),
        Verb::Run(verb) => run::run(context, &verb),
        Verb::Attach(verb) => attach::run(context, &verb),
        Verb::Watch(verb) => watch::run(context, verb),
        Verb::Cp(verb) => copy::run(context, verb),
        Verb::Commit(verb) => commit::run(context, &verb),
        Verb::Export(verb) => export::run(context, &verb),
        Verb::Config(verb) => config::run(context, &verb),
        Verb::Graph(verb) => graph::run(context, &verb),
        Verb::Doctor(verb) => doctor::run(context, &verb),
        Verb::Version(verb) => version::run(context, &verb),
    }
}
