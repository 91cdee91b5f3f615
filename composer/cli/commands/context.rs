//! What every verb works with: the global flags, the caller and the output.

use std::collections::BTreeSet;

use clap::ValueEnum;
use composer_stack::{Diagnostic, LoadError, LoadOptions, Loaded, Purpose, Severity, Stdin, known_services};
use composer_supervisor::client::Client;
use composer_supervisor::host::images::{self, Held, Registries};
use composer_supervisor::protocol::{ContainerStatus, Failure, Reply, Request};
use composer_supervisor::words;

use super::watching::Listed;
use super::{Error, INTERRUPTED, Result, doing, work};
use crate::caller::Caller;
use crate::host;
use crate::options::{Ansi, Global, ProgressStyle};
use crate::render::{Output, Progress, Pulls, Way};

/// What every verb works with.
pub struct Context {
    global: Global,
    pub caller: Caller,
    pub out: Output,
    stdin: Stdin,
    /// Errors and warnings are told as JSON, one object a line.
    pub json: bool,
    /// How the files were read that are to be run.
    loaded: Option<LoadOptions>,
    /// Keeps images that are about to be used.
    pub(super) held: Option<Held>,
}

impl Context {
    /// Looks at who called.
    pub fn new(global: Global) -> Self {
        let caller = Caller::find();
        let flag = if global.no_ansi { Some(Ansi::Never) } else { global.ansi };
        let ansi = flag.or_else(|| chosen(&caller, "COMPOSE_ANSI")).unwrap_or_default();
        let out = Output::new(ansi, &caller.environment);
        Self {
            global,
            caller,
            out,
            stdin: Stdin::new(std::io::stdin()),
            json: false,
            loaded: None,
            held: None,
        }
    }

    /// Whether a terminal understands more than text (TERM).
    pub fn draws(&self) -> bool {
        self.caller.environment.get("TERM").is_none_or(|term| term != "dumb")
    }

    /// The flags before the verb.
    pub fn global(&self) -> &Global {
        &self.global
    }

    fn load_options(&self, purpose: Purpose) -> Result<LoadOptions> {
        Ok(LoadOptions {
            files: self.global.files.clone(),
            stdin: Some(self.stdin.clone()),
            project_name: self.global.project_name.clone(),
            project_directory: self.global.project_directory.clone(),
            env_files: self.global.env_files.clone(),
            profiles: self.global.profiles.clone(),
            all_resources: self.global.all_resources,
            strict: self.global.strict || self.is_set("COMPOSE_STRICT"),
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

    /// Whether a variable says yes, as Docker Compose reads such variables.
    pub fn is_set(&self, variable: &str) -> bool {
        let value = self.caller.environment.get(variable).map(|value| value.to_ascii_lowercase());
        matches!(value.as_deref(), Some("1" | "t" | "true" | "y" | "yes" | "on"))
    }

    /// What stands between the parts of names: `_` where the user wants Docker Compose's old ways.
    pub fn separator(&self) -> char {
        if self.global.compatibility || self.is_set("COMPOSE_COMPATIBILITY") { '_' } else { '-' }
    }

    /// Whether `--compatibility` is given, which means more to `config` than the variable does.
    pub fn is_compatible(&self) -> bool {
        self.global.compatibility
    }

    /// Reads the files and tells of what is doubtful in them.
    pub fn load(&mut self, purpose: Purpose, change: impl FnOnce(&mut LoadOptions)) -> Result<Loaded> {
        if self.separator() == '_' {
            let why = "containers are found again by their names, which have `-`";
            self.out.warning(&format!("`--compatibility` changes no names here: {why}"));
        }
        self.load_with(purpose, change)
    }

    /// The same without a word about `--compatibility`.
    pub fn load_with(&mut self, purpose: Purpose, change: impl FnOnce(&mut LoadOptions)) -> Result<Loaded> {
        let mut options = self.load_options(purpose)?;
        change(&mut options);
        let loaded = composer_stack::load(&options)?;
        if !loaded.warnings.is_empty() {
            let text = if self.json {
                loaded.warnings.render_json()
            } else {
                loaded.warnings.render(self.out.color_errors)
            };
            self.out.note(&text);
        }
        self.loaded = Some(options);
        Ok(loaded)
    }

    /// What fails from now on is not told with its place.
    pub fn forget_places(&mut self) {
        self.loaded = None;
    }

    /// What the supervisor could not do, with the place in the files that is to blame. They are read for it once more:
    /// places do not go along to the supervisor.
    fn placed(&self, failure: &Failure) -> Option<Diagnostic> {
        let options = self.loaded.as_ref().filter(|_| !failure.at.is_empty())?;
        let loaded = composer_stack::load(options).ok()?;
        // What else is to be told of has lines of its own.
        let (message, rest) = match failure.message.split_once('\n') {
            Some((message, rest)) => (message, Some(rest.to_owned())),
            None => (failure.message.as_str(), None),
        };
        let error = loaded.error_at(&failure.at, message, failure.help.as_deref())?;
        Some(Diagnostic { note: rest, ..error })
    }

    /// The project's name, even where the files are wrong or gone.
    pub fn project(&self) -> Result<String> {
        let options = self.load_options(Purpose::Config)?;
        Ok(composer_stack::project_name_only(&options)?)
    }

    /// The volumes of the files that are the stack's own, by their names on the host; none where the files are gone,
    /// or wrong, which is told.
    pub fn volumes(&mut self) -> Result<Vec<String>> {
        match composer_stack::load(&self.load_options(Purpose::Config)?) {
            Ok(loaded) => {
                let volumes = loaded.stack.volumes.into_values();
                Ok(volumes.filter(|volume| !volume.external).map(|volume| volume.name).collect())
            }
            Err(LoadError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => {
                self.out.warning(&format!(
                    "the volumes that only the Compose files name are kept, for the files are wrong:\n{error}"
                ));
                Ok(Vec::new())
            }
        }
    }

    /// How progress is shown, under a title such as `up`.
    pub fn progress(&self, stack: &str, title: &'static str, block: bool) -> Progress {
        let style: Option<ProgressStyle> =
            self.global.progress.or_else(|| chosen(&self.caller, "COMPOSE_PROGRESS"));
        Progress::new(style.unwrap_or_default(), stack, title, block, &self.out)
    }

    /// The same of pulls and pushes of images; `quiet` is the verb's own flag.
    pub fn pulls(&self, way: Way, quiet: bool) -> Pulls {
        let style = self.global.progress.or_else(|| chosen(&self.caller, "COMPOSE_PROGRESS"));
        let style = if quiet { ProgressStyle::Quiet } else { style.unwrap_or_default() };
        Pulls::new(style, way, &self.out)
    }

    /// What is known of registries to the caller.
    pub fn registries(&self) -> Result<Registries> {
        let found = images::registries(&self.caller.environment, self.caller.home.as_deref());
        Ok(found.map_err(composer_supervisor::host::Error::Image)?)
    }

    /// Refuses names that no container has and no service of the file.
    pub fn check_services<'a>(
        &mut self,
        wanted: &[String],
        containers: impl IntoIterator<Item = &'a ContainerStatus>,
    ) -> Result<()> {
        self.check_names(
            wanted,
            &containers.into_iter().map(|container| container.service.as_str()).collect(),
        )
    }

    /// The same of services that containers are known of.
    pub fn check_names(&mut self, wanted: &[String], known: &BTreeSet<&str>) -> Result<()> {
        let mut missing = wanted.iter().filter(|service| !known.contains(service.as_str())).peekable();
        if missing.peek().is_none() {
            return Ok(());
        }
        // The file is read only now: these verbs are to be fast, and to work without it.
        let options = self.load_options(Purpose::Config)?;
        let loaded = match composer_stack::load(&options) {
            Ok(loaded) => Some(loaded),
            Err(LoadError::NotFound(_)) => None,
            Err(error) => return Err(Error::Load(error)),
        };
        let is_named = |service: &String| {
            let loaded = loaded.as_ref();
            loaded.is_some_and(|all| all.names("services").contains(service) || all.is_disabled(service))
        };
        match missing.find(|service| !is_named(service)) {
            Some(unknown) => {
                let of_file = loaded.as_ref().map(|loaded| loaded.names("services"));
                let known = match &of_file {
                    Some(names) => known_services("the file", unknown, names.iter().map(String::as_str)),
                    None => known_services("the stack", unknown, known.iter().copied()),
                };
                Err(Error::Usage(format!("no such service: {unknown}{known}")))
            }
            None => Ok(()),
        }
    }

    /// As [`Context::named`]. Without names those of the file are meant, of its active profiles, as in Docker Compose; all
    /// where there is no file. `None` too where none of them has a container.
    pub fn present(&mut self, stack: &str, wanted: &[String]) -> Result<Option<Vec<String>>> {
        if !wanted.is_empty() {
            return self.named(stack, wanted);
        }
        let mut services: BTreeSet<String> =
            containers(stack)?.into_iter().map(|container| container.service).collect();
        if services.is_empty() {
            return Ok(None);
        }
        let Some(active) = self.active()? else { return Ok(Some(Vec::new())) };
        let all = services.len();
        services.retain(|service| active.contains(service));
        Ok(match services.len() {
            0 => None,
            some if some == all => Some(Vec::new()),
            _ => Some(services.into_iter().collect()),
        })
    }

    /// The services of the file and its active profiles; `None` where there is no file.
    pub fn active(&mut self) -> Result<Option<Vec<String>>> {
        match self.load_with(Purpose::Config, |_| {}) {
            Ok(loaded) => Ok(Some(loaded.names("services"))),
            Err(Error::Load(LoadError::NotFound(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of these services that have a container, or none where all are meant; `None` where none of those named has
    /// one. Names that no container has and no service of the file are refused.
    pub fn named(&mut self, stack: &str, wanted: &[String]) -> Result<Option<Vec<String>>> {
        if wanted.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let containers = containers(stack)?;
        self.check_services(wanted, &containers)?;
        let has_one = |service: &&String| containers.iter().any(|container| container.service == **service);
        let present: Vec<String> = wanted.iter().filter(has_one).cloned().collect();
        Ok(if present.is_empty() { None } else { Some(present) })
    }

    /// Tells why a command failed, and with which status it ends.
    pub fn tell(&mut self, error: &Error) -> u8 {
        if let Error::Refused(failure) = error {
            for other in &failure.more {
                self.tell(&Error::Refused(other.clone()));
            }
        }
        let code = match error {
            Error::Refused(failure) => u8::try_from(failure.code).unwrap_or(1),
            Error::Interrupted => INTERRUPTED,
            Error::Load(_)
            | Error::Client(_)
            | Error::Host(_)
            | Error::Output(_)
            | Error::Io(..)
            | Error::Format(_)
            | Error::Usage(_) => 1,
        };
        let placed = match error {
            Error::Refused(failure) => self.placed(failure),
            _ => None,
        };
        match (error, placed) {
            (Error::Interrupted, _) => self.out.note(&error.to_string()),
            (_, Some(placed)) if self.json => self.out.note(&placed.render_json()),
            (_, Some(placed)) => self.out.note(&placed.render(self.out.color_errors)),
            (Error::Load(error), None) if self.json => self.out.note(&error.render_json()),
            (Error::Load(error), None) => self.out.note(&error.render(self.out.color_errors)),
            (error, None) if self.json => {
                let error = Diagnostic::without_place(Severity::Error, error.to_string());
                self.out.note(&error.render_json());
            }
            (error, None) => self.out.error(&error.to_string()),
        }
        code
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

/// Which replicas a service has, for whoever has asked for another.
pub fn range(containers: &[ContainerStatus], service: &str) -> String {
    let of_service = containers.iter().filter(|container| container.service == service);
    words::range(&of_service.map(|container| container.index).collect())
}

fn status(client: &Client) -> Result<Vec<ContainerStatus>> {
    client.send(&Request::Status, &[])?;
    let mut found = Listed::default();
    work::until_done(client, |reply| {
        if let Reply::Containers { time, containers } = reply {
            found = Listed::new(time, containers);
        }
    })?;
    Ok(found.containers)
}
