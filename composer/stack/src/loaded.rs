//! What a load gives: the stack, and questions about the files it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::diagnostic::{Diagnostic, Diagnostics, Report};
use crate::emit::{self, Document};
use crate::graph::Graph;
use crate::model::Stack;
use crate::origins;
use crate::print::{self, Format};
use crate::profiles::profiles;
use crate::read::Reader;
use crate::source::Sources;
use crate::spec::FILE;
use crate::tree::{map_mut, put};
use crate::yaml::{Map, Node, Value};
use crate::{hash, interpolate, lower};

/// What no container has to be made anew for.
const UNHASHED: [&str; 5] = ["build", "depends_on", "profiles", "pull_policy", "scale"];

/// The variable with the platform of images that are built for none of their own.
pub(crate) const PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";

/// Files that were read without errors.
#[derive(Debug)]
pub struct Loaded {
    /// What can be run.
    pub stack: Stack,
    /// What is doubtful.
    pub warnings: Diagnostics,
    /// The canonical tree.
    pub(crate) root: Node,
    /// Services that are not wanted.
    pub(crate) disabled: Map,
    pub(crate) sources: Sources,
    /// The files as they were written.
    pub(crate) reader: Reader,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) interpolated: bool,
}

/// A variable that the files use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// `${NAME:?…}`: it has to have a value.
    pub required: bool,
    /// Of `${NAME:-default}`.
    pub default: String,
    /// Of `${NAME:+alternative}`.
    pub alternative: String,
}

impl Loaded {
    /// Docker Compose's canonical model as YAML (`config`).
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn to_yaml(&self) -> io::Result<String> {
        emit::yaml(&self.document(Format::Yaml), 2)
    }

    /// Docker Compose's canonical model as JSON (`config --format json`).
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn to_json(&self) -> io::Result<String> {
        emit::json(&self.document(Format::Json))
    }

    fn document(&self, format: Format) -> Document {
        if self.interpolated {
            return print::document(&self.root, &FILE, format, true);
        }
        // Without the order of Go's types, and without their blanks.
        let mut document = print::untyped(&self.root, &FILE);
        document.sort();
        document
    }

    /// The names in a section of the canonical model, sorted, those of services too that cannot be run.
    pub fn names(&self, section: &str) -> Vec<String> {
        let names = self.root.get(section).into_iter().flat_map(Node::entries).map(|(name, _)| name);
        names.cloned().collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// The image of every service, in the order of the services' names. One that is built and has no name is called
    /// after the project and the service, with `separator` between.
    pub fn images(&self, separator: char) -> Vec<String> {
        let image = |(name, image): (String, Option<String>)| {
            image.unwrap_or_else(|| format!("{}{separator}{name}", self.stack.name))
        };
        self.named_images().map(image).collect()
    }

    fn named_images(&self) -> impl Iterator<Item = (String, Option<String>)> {
        self.names("services").into_iter().filter_map(|name| {
            let image = self.root.get("services")?.get(&name)?.get("image");
            let image = image.and_then(Node::text_value).filter(|image| !image.is_empty());
            let image = image.map(str::to_owned);
            Some((name, image))
        })
    }

    /// The images of the services and nothing else (`config --lock-image-digests`).
    fn locked(&self) -> Document {
        let text = |image: String| ("image".to_owned(), Document::Text(image));
        let service = |image: Option<String>| Document::Map(image.map(text).into_iter().collect());
        let services = self.named_images().map(|(name, image)| (name, service(image)));
        let mut services = Document::Map(services.collect());
        services.sort();
        Document::Map([("services".to_owned(), services)].into_iter().collect())
    }

    /// The same as YAML.
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn locked_yaml(&self) -> io::Result<String> {
        emit::yaml(&self.locked(), 2)
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn locked_json(&self) -> io::Result<String> {
        emit::json(&self.locked())
    }

    /// The models that services use, by the names the files give them in `model`.
    pub fn models(&self) -> Vec<String> {
        let models = self.root.get("models").into_iter().flat_map(Node::entries);
        let model = models.filter_map(|(_, entry)| entry.node.get("model").and_then(Node::text_value));
        let models: BTreeSet<&str> = model.filter(|model| !model.is_empty()).collect();
        models.into_iter().map(str::to_owned).collect()
    }

    /// How the parts of the canonical model hang together.
    pub fn graph(&self) -> Graph {
        lower::graph(&self.root, &self.stack.name, &self.stack.directory)
    }

    /// Whether there is a service that no active profile wants.
    pub fn is_disabled(&self, service: &str) -> bool {
        self.disabled.contains_key(service)
    }

    /// The services whose image is built, sorted.
    pub fn built(&self) -> Vec<String> {
        let services = self.root.get("services").into_iter().flat_map(Node::entries);
        let built =
            services.filter(|(_, entry)| entry.node.get("build").is_some_and(|build| !build.is_null()));
        built.map(|(name, _)| name.clone()).collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// The services that no active profile wants.
    pub fn disabled(&self) -> impl Iterator<Item = &String> {
        self.disabled.keys()
    }

    /// Whether a variable says yes, as Docker Compose reads such variables: the caller's, or one of the `.env` files.
    pub fn is_set(&self, variable: &str) -> bool {
        let value = self.environment.get(variable).map(|value| value.to_ascii_lowercase());
        matches!(value.as_deref(), Some("1" | "t" | "true" | "y" | "yes" | "on"))
    }

    /// Every profile that a service of the files has, sorted.
    pub fn profiles(&self) -> Vec<String> {
        let enabled = self.root.get("services").into_iter().flat_map(Node::entries);
        let services = enabled.chain(&self.disabled);
        let names: BTreeSet<&str> = services.flat_map(|(_, entry)| profiles(&entry.node)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// `KEY=value` of everything that variables are looked up in, sorted.
    pub fn environment(&self) -> Vec<String> {
        self.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// Every variable that the files use, sorted by name.
    pub fn variables(&self) -> Vec<Variable> {
        let mut found = BTreeMap::new();
        self.reader.all().for_each(|document| collect_uses(document, &mut found));
        found.into_values().collect()
    }

    /// A service's configuration as one number, in hexadecimal: Docker Compose's own, where the service has no `x-` keys
    /// of ours. `None` where there is no such service.
    pub fn hash(&self, service: &str) -> Option<String> {
        let service = self.root.get("services")?.get(service)?;
        let mut service = service.clone();
        let is_empty =
            |key: &str| service.get(key).is_none_or(|node| node.is_null() || node.text_value() == Some(""));
        let platform = self.environment.get(PLATFORM).filter(|platform| !platform.is_empty());
        let platform = platform.filter(|_| !is_empty("build") && is_empty("platform"));
        let span = service.span;
        if let Some(fields) = map_mut(&mut service) {
            fields.retain(|key, _| !UNHASHED.contains(&key.as_str()));
            platform.into_iter().for_each(|platform| put(fields, "platform", Node::text(span, platform)));
        }
        if let Some(deploy) = service.get_mut("deploy").and_then(map_mut) {
            deploy.shift_remove("replicas");
        }
        let document = print::service(&service);
        Some(hash::sha256(&emit::json_line(&document).ok()?))
    }

    /// What somebody else has found wrong with the value that a path of keys, and of places in lists, leads to: an error
    /// where that is written, or where the image is named that says it instead. `None` where no file says it.
    pub fn error_at(self, path: &[String], message: &str, help: Option<&str>) -> Option<Diagnostic> {
        let find = |path: &[String]| {
            let node = path.iter().try_fold(&self.root, |node, key| match key.parse::<usize>() {
                Ok(place) if !node.items().is_empty() => node.items().get(place),
                Ok(_) | Err(_) => node.get(key),
            })?;
            let says_nothing = node.is_null() || node.text_value() == Some("");
            (!says_nothing && !self.sources.is_implied(node.span.way)).then_some(node)
        };
        let node = match path {
            [services, name, key, ..] if services == "services" => {
                let beside = |key: &str| find(&[services.clone(), name.clone(), key.to_owned()]);
                // What is executed is the entrypoint's first word, where there is one.
                let entrypoint = || beside("entrypoint").filter(|_| key == "command");
                let origin = || ["image", "x-rootfs"].into_iter().find_map(beside);
                entrypoint().or_else(|| find(path)).or_else(origin)
            }
            _ => find(path),
        }?;
        let mut report = Report::of(self.sources);
        let found = report.error(node.span, message);
        help.into_iter().fold(found, |found, help| found.help(help));
        report.found.pop().filter(|found| found.place.is_some())
    }

    /// The model as YAML with a comment behind every value that says where it came from; `color`: they are dim.
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn origins_yaml(&self, color: bool) -> io::Result<String> {
        origins::text(&self.document(Format::Yaml), &self.root, &self.sources, color)
    }

    /// The same as a JSON object with every value's path as a key.
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn origins_json(&self) -> io::Result<String> {
        origins::json(&origins::list(&self.document(Format::Yaml), &self.root, &self.sources))
    }
}

/// Adds the variables of a value, each as its last use has it.
fn collect_uses(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Map(map) => map.values().for_each(|entry| collect_uses(&entry.node, found)),
        Value::List(items) => items.iter().for_each(|item| collect_uses(item, found)),
        Value::Scalar(scalar) => {
            for each in interpolate::variables(&scalar.text) {
                let variable = Variable {
                    name: each.name.to_owned(),
                    // Whoever sets the variables has to set it, whatever its other uses say.
                    required: each.required
                        || found.get(each.name).is_some_and(|known: &Variable| known.required),
                    default: each.default.unwrap_or_default().to_owned(),
                    alternative: each.alternative.unwrap_or_default().to_owned(),
                };
                found.insert(variable.name.clone(), variable);
            }
        }
    }
}
