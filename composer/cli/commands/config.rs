//! `compose config`: what the files mean.

use std::collections::{BTreeMap, BTreeSet};

use composer_stack::{Loaded, Purpose, known_services};
use composer_supervisor::host;
use composer_supervisor::host::images;

use super::context::Context;
use super::output;
use super::{Error, Result, doing};
use crate::options::{Config, ConfigFormat};
use crate::render::table;

/// What is printed. Where several flags are given, Docker Compose takes the first of these.
enum Shown<'a> {
    /// Names in a section of the model.
    Names(&'static str),
    Models,
    Hashes(&'a str),
    Profiles,
    Images,
    Variables,
    Environment,
    Model,
}

impl<'a> Shown<'a> {
    fn of(verb: &'a Config) -> Self {
        match verb.hash.as_deref() {
            _ if verb.services => Self::Names("services"),
            _ if verb.volumes => Self::Names("volumes"),
            _ if verb.networks => Self::Names("networks"),
            _ if verb.models => Self::Models,
            Some(services) if !services.is_empty() => Self::Hashes(services),
            _ if verb.profiles => Self::Profiles,
            _ if verb.images => Self::Images,
            _ if verb.variables => Self::Variables,
            _ if verb.environment => Self::Environment,
            _ => Self::Model,
        }
    }
}

/// Checks the files and prints the canonical model, or a part of it.
pub fn run(context: &mut Context, verb: &Config) -> Result {
    context.json = verb.format == Some(ConfigFormat::Json);
    let shown = Shown::of(verb);
    let mut loaded = load(context, verb, &shown)?;
    if verb.resolve_image_digests || verb.lock_image_digests {
        pin(context, &mut loaded)?;
    }
    let text = match shown {
        Shown::Names(section) => lines(loaded.names(section)),
        Shown::Models => lines(loaded.models()),
        Shown::Hashes(services) => hashes(&loaded, services)?,
        Shown::Profiles => lines(loaded.profiles()),
        Shown::Images => lines(loaded.images(context.separator())),
        Shown::Variables => variables(&loaded, verb.format)?,
        Shown::Environment => lines(loaded.environment()),
        Shown::Model if verb.quiet => {
            std::mem::forget(loaded);
            return Ok(0);
        }
        Shown::Model => model(context, verb, &loaded)?,
    };
    match verb.output.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => output::write(path, text.as_bytes(), context.caller.owner)?,
        None => context.out.data(text.as_bytes()).map_err(Error::Output)?,
    }
    // The process ends here: to take the tree of a long file apart takes as long as to print it.
    std::mem::forget(loaded);
    Ok(0)
}

fn load(context: &mut Context, verb: &Config, shown: &Shown<'_>) -> Result<Loaded> {
    let normalize = !verb.no_normalize && !context.is_compatible();
    context.load_with(Purpose::Config, |options| {
        options.interpolate = !verb.no_interpolate && !matches!(shown, Shown::Variables);
        options.normalize = normalize;
        options.resolve_paths = !verb.no_path_resolution;
        options.check_consistency = !verb.no_consistency;
        options.resolve_environment =
            !verb.no_env_resolution && matches!(shown, Shown::Model | Shown::Environment);
        // The other lists are those of the whole project.
        if matches!(shown, Shown::Profiles | Shown::Images | Shown::Environment | Shown::Model) {
            options.services.clone_from(&verb.services_wanted);
        }
    })
}

/// Names images by the digests that registries have for them now.
fn pin(context: &mut Context, loaded: &mut Loaded) -> Result<()> {
    let named: BTreeSet<String> =
        loaded.service_images(&[]).into_iter().filter_map(|service| service.image).collect();
    let names: Vec<String> = named.into_iter().collect();
    let registries = context.registries()?;
    let (mut pinned, mut failed) = (BTreeMap::new(), Vec::new());
    for (name, pin) in names.iter().zip(images::pins(&names, &registries)) {
        match pin {
            Ok(pin) => drop(pinned.insert(name.clone(), pin)),
            Err(error) => failed.push(Error::Host(host::Error::Image(error))),
        }
    }
    loaded.rename_images(&pinned);
    let Some(last) = failed.pop() else { return Ok(()) };
    for error in &failed {
        context.tell(error);
    }
    Err(last)
}

fn lines(names: Vec<String>) -> String {
    names.into_iter().map(|name| name + "\n").collect()
}

fn model(context: &Context, verb: &Config, loaded: &Loaded) -> Result<String> {
    let json = verb.format == Some(ConfigFormat::Json);
    let written = if verb.lock_image_digests {
        if json { loaded.locked_json() } else { loaded.locked_yaml() }
    } else {
        match (verb.origins, json) {
            (true, true) => loaded.origins_json(),
            (true, false) => loaded.origins_yaml(context.out.color && verb.output.is_none()),
            (false, true) => loaded.to_json(),
            (false, false) => loaded.to_yaml(),
        }
    };
    written.map_err(doing("write what the files mean"))
}

/// A line for each of the services, or for all: `*`.
fn hashes(loaded: &Loaded, services: &str) -> Result<String> {
    let mut names: Vec<String> = match services {
        "*" => loaded.names("services"),
        _ => services.split(',').map(str::to_owned).collect(),
    };
    names.sort();
    let line = |name: String| match loaded.hash(&name) {
        Some(hash) => Ok(format!("{name} {hash}\n")),
        None if loaded.is_disabled(&name) => Err(Error::Usage(format!("no such service: {name}: disabled"))),
        None => {
            let known = loaded.names("services");
            let known = known_services("the file", &name, known.iter().map(String::as_str));
            Err(Error::Usage(format!("no such service: {name}: not found{known}")))
        }
    };
    names.into_iter().map(line).collect()
}

fn variables(loaded: &Loaded, format: Option<ConfigFormat>) -> Result<String> {
    match format {
        Some(ConfigFormat::Yaml) => {
            composer_stack::variables_yaml(&loaded.variables()).map_err(doing("write the variables"))
        }
        Some(ConfigFormat::Json) => {
            composer_stack::variables_json(&loaded.variables()).map_err(doing("write the variables"))
        }
        None => {
            let row = |variable: &composer_stack::Variable| {
                let required = variable.required.to_string();
                vec![variable.name.clone(), required, variable.default.clone(), variable.alternative.clone()]
            };
            let rows: Vec<Vec<String>> = loaded.variables().iter().map(row).collect();
            Ok(table::render_wide(&["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"], &rows))
        }
    }
}
