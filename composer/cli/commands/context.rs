//! What every verb works with: the global flags, the caller and the output.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use composer_stack::{LoadError, LoadOptions, Loaded, Purpose, Severity};
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{Action, ContainerStatus, Event, Reply, Request, State, Subject};

use super::{Error, Result, doing};
use crate::caller::Caller;
use crate::host;
use crate::options::{Global, ProgressStyle};
use crate::render::{Output, Progress};
use crate::time;

/// What every verb works with.
pub struct Context {
    global: Global,
    pub caller: Caller,
    pub out: Output,
    /// Standard input's text: it can be read once.
    stdin: Option<String>,
}

impl Context {
    /// Looks at who called.
    pub fn new(global: Global) -> Self {
        let caller = Caller::find();
        let ansi = global.ansi.or_else(|| chosen(&caller, "COMPOSE_ANSI")).unwrap_or_default();
        let out = Output::new(ansi, &caller.environment);
        Self { global, caller, out, stdin: None }
    }

    fn load_options(&mut self, purpose: Purpose) -> Result<LoadOptions> {
        let variable = |name: &str| self.caller.environment.get(name).map(String::as_str).unwrap_or_default();
        let from_stdin = match self.global.files.as_slice() {
            [] => variable("COMPOSE_FILE") == "-",
            files => files.iter().any(|file| file.as_path() == Path::new("-")),
        };
        let env_files = match self.global.env_files.as_slice() {
            [] => variable("COMPOSE_ENV_FILES")
                .split(',')
                .filter(|file| !file.is_empty())
                .map(PathBuf::from)
                .collect(),
            files => files.to_vec(),
        };
        if from_stdin && self.stdin.is_none() {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(doing("read the Compose file from standard input"))?;
            self.stdin = Some(text);
        }
        Ok(LoadOptions {
            files: self.global.files.clone(),
            stdin: self.stdin.clone(),
            project_name: self.global.project_name.clone(),
            project_directory: self.global.project_directory.clone(),
            env_files,
            current_dir: std::env::current_dir().map_err(doing("find the current folder"))?,
            environment: self.caller.environment.clone(),
            home: self.caller.home.clone(),
            purpose,
            host: match purpose {
                Purpose::Run => host::facts(),
                Purpose::Config => None,
            },
            ..LoadOptions::default()
        })
    }

    /// Reads the files and tells of what is doubtful in them.
    pub fn load(&mut self, purpose: Purpose) -> Result<Loaded> {
        let options = self.load_options(purpose)?;
        let loaded = composer_stack::load(&options)?;
        for warning in &loaded.warnings {
            let text = warning.render(self.out.color_errors);
            self.out.note(&text);
        }
        Ok(loaded)
    }

    /// The project's name, even where the files are wrong or gone.
    pub fn project(&mut self) -> Result<String> {
        let options = self.load_options(Purpose::Config)?;
        Ok(composer_stack::project_name_only(&options)?)
    }

    /// The volumes of the files that are the stack's own, by their names on the host; none where the files are wrong
    /// or gone.
    pub fn volumes(&mut self) -> Vec<String> {
        let loaded =
            self.load_options(Purpose::Config).ok().and_then(|options| composer_stack::load(&options).ok());
        let volumes = loaded.map(|loaded| loaded.stack.volumes).unwrap_or_default();
        volumes.into_values().filter(|volume| !volume.external).map(|volume| volume.name).collect()
    }

    /// How progress is shown, under a title such as `up`.
    pub fn progress(&self, stack: &str, title: &'static str, block: bool) -> Progress {
        let style: Option<ProgressStyle> =
            self.global.progress.or_else(|| chosen(&self.caller, "COMPOSE_PROGRESS"));
        Progress::new(style.unwrap_or_default(), stack, title, block, &self.out)
    }

    /// Refuses names that no container has and no service of the file.
    pub fn check_services<'a>(
        &mut self,
        wanted: &[String],
        containers: impl IntoIterator<Item = &'a ContainerStatus>,
    ) -> Result<()> {
        let known: BTreeSet<&str> =
            containers.into_iter().map(|container| container.service.as_str()).collect();
        let mut missing = wanted.iter().filter(|service| !known.contains(service.as_str())).peekable();
        if missing.peek().is_none() {
            return Ok(());
        }
        // The file is read only now: these verbs are to be fast, and to work without it.
        let options = self.load_options(Purpose::Config)?;
        let named = composer_stack::load(&options).map(|loaded| loaded.names("services"));
        let named = named.unwrap_or_default();
        match missing.find(|service| !named.contains(service)) {
            Some(unknown) => Err(Error::Usage(format!("no such service: {unknown}"))),
            None => Ok(()),
        }
    }

    /// Tells why a command failed, and with which status it ends.
    pub fn tell(&mut self, error: &Error) -> u8 {
        match error {
            Error::Load(error @ LoadError::Diagnostics(found)) => {
                let mut text = error.render(self.out.color_errors);
                if !found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
                    text.push_str("\nerror: the Compose file cannot be used");
                }
                self.out.note(&text);
                1
            }
            Error::Refused(failure) => {
                self.out.error(&failure.message);
                u8::try_from(failure.code).unwrap_or(1)
            }
            Error::Load(_) | Error::Client(_) | Error::Output(_) | Error::Io(..) | Error::Usage(_) => {
                self.out.error(&error.to_string());
                1
            }
        }
    }
}

/// A flag's value from the caller's environment; one that is none of its values does not count.
fn chosen<T: ValueEnum>(caller: &Caller, variable: &str) -> Option<T> {
    T::from_str(caller.environment.get(variable)?, true).ok()
}

/// The stack's containers in the order of their names; none where nothing is known of the stack.
pub fn containers(stack: &str) -> Result<Vec<ContainerStatus>> {
    match Client::find(stack)? {
        Some(client) => status(&client),
        None => Ok(Vec::new()),
    }
}

/// What whoever watched a supervisor that has died has missed: `running` are the containers that ran, with their
/// services.
pub fn missed(stack: &str, running: &BTreeMap<String, String>) -> Result<Vec<Event>> {
    let mut lost = running.clone();
    let mut events = Vec::new();
    let time = time::now();
    for container in containers(stack)? {
        // One that was made anew: the one that ran is gone.
        if container.state == State::Created {
            continue;
        }
        let ran = lost.remove(&container.name).is_some();
        let action = match container.state {
            State::Exited if ran => Action::Exited { code: container.exit_code },
            State::Running if !ran => Action::Started { address: container.address },
            State::Created | State::Running | State::Exited => continue,
        };
        let subject = Subject::Container { name: container.name, service: container.service };
        events.push(Event { time, subject, action });
    }
    let removed = |(name, service)| Event {
        time,
        subject: Subject::Container { name, service },
        action: Action::Removed,
    };
    events.extend(lost.into_iter().map(removed));
    Ok(events)
}

fn status(client: &Client) -> Result<Vec<ContainerStatus>> {
    client.send(&Request::Status, &[])?;
    let mut found = Vec::new();
    loop {
        match client.receive()?.0 {
            Reply::Containers(containers) => found = containers,
            Reply::Done => break,
            Reply::Failed(failure) => return Err(Error::Refused(failure)),
            Reply::Event(_) | Reply::Plan(_) | Reply::Executing { .. } | Reply::Exited { .. } => {}
        }
    }
    found.sort_by(|a, b| (&a.service, a.index, &a.name).cmp(&(&b.service, b.index, &b.name)));
    Ok(found)
}
