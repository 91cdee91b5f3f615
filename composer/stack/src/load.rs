//! The way of a load, from options to a checked stack.

use std::path::PathBuf;
use std::rc::Rc;

use crate::contents::Contents;
use crate::diagnostic::Report;
use crate::error::LoadError;
use crate::files::{self, Found};
use crate::interpolate::Interpolator;
use crate::loaded::Loaded;
use crate::name::{self, Name};
use crate::options::{LoadOptions, Purpose};
use crate::project::Project;
use crate::read::{self, Reader};
use crate::resolve::Resolver;
use crate::source::Span;
use crate::yaml::{Map, Node};
use crate::{check, lower, normalize, profiles};

/// Files with their documents.
type Inputs = Vec<(PathBuf, Rc<Vec<Node>>)>;

/// Reads, merges and checks the files.
///
/// # Errors
/// [`LoadError::Diagnostics`] has everything that is wrong at once; [`LoadError::NotFound`] says that there is no file.
pub fn load(options: &LoadOptions) -> Result<Loaded, LoadError> {
    let mut report = Report::default();
    let mut reader = Reader::new(options);
    let Found { paths, directory, mut environment } = files::find(options, &mut reader, &mut report);
    if paths.is_empty() {
        return Err(LoadError::NotFound(report.finish()));
    }
    let inputs = read_all(&paths, &mut reader, &mut report);
    let mut interpolator = Interpolator::new();
    let documents: Vec<&Node> = inputs.iter().flat_map(|(_, documents)| documents.iter()).collect();
    let name = name::choose(options, &environment, &documents, &directory, &mut interpolator, &mut report);
    // Without one the load fails, but not before everything else that is wrong is known.
    let Name { text: name, given } = name.unwrap_or_else(|| Name { text: "project".to_owned(), given: None });
    if inputs.is_empty() && report.has_errors() {
        return Err(LoadError::Diagnostics(report.finish()));
    }
    environment.set("COMPOSE_PROJECT_NAME", &name);
    let mut project = Project::new(options, directory.clone(), reader, interpolator, report);
    let scope = project.scope(directory.clone(), environment);
    let root = project.model(&inputs, &scope, &[]);
    // Where something is missing, the checks would be about what is not there.
    let whole = !project.incomplete && inputs.len() == paths.len();
    let Project { mut report, mut reader, .. } = project;
    let Some(mut root) = root else {
        if !report.has_errors() {
            report
                .error_without_place("the Compose file is empty")
                .help("name at least one service under `services:`");
        }
        return Err(LoadError::Diagnostics(report.finish()));
    };
    set_name(&mut root, &name, given);
    let mut resolver = Resolver {
        options,
        environment: &scope.environment,
        folder: &directory,
        reader: &mut reader,
        report: &mut report,
    };
    let disabled = complete(&mut root, whole, &name, &mut resolver);
    let contents = match options.purpose {
        Purpose::Run if whole => Contents::read(&root, &scope.environment, &directory, &mut report),
        Purpose::Run | Purpose::Config => Contents::default(),
    };
    if options.strict {
        report.be_strict();
    }
    if report.has_errors() {
        return Err(LoadError::Diagnostics(report.finish()));
    }
    let stack = lower::stack(&root, name, directory, paths, contents);
    let (warnings, sources) = report.finish_with_sources();
    Ok(Loaded {
        stack,
        warnings,
        root,
        disabled,
        sources,
        reader,
        environment: scope.environment.values(),
        interpolated: options.interpolate,
    })
}

/// From the merged tree to what counts; the services that are not wanted come back.
fn complete(root: &mut Node, whole: bool, name: &str, resolver: &mut Resolver<'_>) -> Map {
    let (options, environment) = (resolver.options, resolver.environment);
    if options.normalize || options.interpolate {
        normalize::fill_resources(root);
    }
    if options.normalize {
        let environment = Some(environment).filter(|_| options.interpolate);
        normalize::normalize(root, name, environment, resolver.report);
    }
    if whole {
        check::each(root, options, resolver.report);
    }
    // What still has expressions in it cannot be held against other things.
    if !options.interpolate {
        return Map::new();
    }
    let mut disabled = profiles::disable(root, options, environment);
    if options.check_consistency && whole {
        check::all(root, &disabled, resolver.folder, options, resolver.report);
        normalize::scale(root);
    }
    profiles::select(root, options, &mut disabled, resolver.report);
    if let Some(services) = root.get_mut("services").and_then(crate::tree::map_mut) {
        resolver.services(services);
    }
    if !options.all_resources {
        profiles::drop_unused(root);
    }
    disabled
}

fn set_name(root: &mut Node, name: &str, given: Option<Span>) {
    let span = match root.get("name") {
        _ if given.is_some() => given.unwrap_or(root.span),
        Some(node) if node.text_value() == Some(name) => node.span,
        Some(_) | None => root.span.implied(),
    };
    if let Some(map) = crate::tree::map_mut(root) {
        crate::tree::put(map, "name", Node::text(span, name));
    }
}

/// Every file that `-f` names has to be there.
fn read_all(paths: &[PathBuf], reader: &mut Reader, report: &mut Report) -> Inputs {
    let mut inputs = Inputs::new();
    for path in paths {
        if let Some(text) = path.to_str().filter(|text| read::is_remote(text)) {
            let message = format!("`{text}`: {}", read::NOT_FETCHED);
            report.error_without_place(message).help(read::FETCH_IT);
            continue;
        }
        match reader.documents(path, report) {
            Ok(documents) => inputs.extend(documents.map(|documents| (path.clone(), documents))),
            Err(error) => read::cannot(path, &error, None, report),
        }
    }
    inputs
}

/// The project's name alone, for verbs such as `down` that have to work when the file is broken or gone.
///
/// # Errors
/// When a name was given that is not one.
pub fn project_name_only(options: &LoadOptions) -> Result<String, LoadError> {
    let mut report = Report::default();
    let mut reader = Reader::new(options);
    let found = files::find(options, &mut reader, &mut report);
    let documents: Vec<Rc<Vec<Node>>> =
        found.paths.iter().filter_map(|path| reader.documents(path, &mut report).ok()?).collect();
    let documents: Vec<&Node> = documents.iter().flat_map(|documents| documents.iter()).collect();
    let interpolator = &mut Interpolator::new();
    // What else is wrong matters to others.
    let mut report = Report::default();
    let name =
        name::choose(options, &found.environment, &documents, &found.directory, interpolator, &mut report);
    name.map(|name| name.text).ok_or_else(|| LoadError::Diagnostics(report.finish()))
}
