//! The way of a load, from options to a checked stack.

use std::collections::BTreeMap;

use crate::decode;
use crate::diagnostic::Report;
use crate::error::LoadError;
use crate::files::{self, Input};
use crate::interpolate::{self, Variables};
use crate::loaded::Loaded;
use crate::options::LoadOptions;
use crate::{name, old_check as check, old_lower as lower, old_merge as merge, yaml};

/// Reads, merges, decodes and checks the files.
///
/// # Errors
/// [`LoadError::Diagnostics`] has everything that is wrong at once; the others are about files that are not there.
pub fn load(options: &LoadOptions) -> Result<Loaded, LoadError> {
    let mut report = Report::default();
    let found = files::find(options, &mut report)?;
    let mut variables = Variables::new(&options.environment, found.dotenv.clone());
    let mut documents = Vec::new();
    for Input { path, text } in found.inputs {
        if let Some(read) = yaml::parse(&path, text, &mut report) {
            documents.extend(read);
        }
    }
    let name =
        name::choose(options, &found.variables, &documents, &found.directory, &mut variables, &mut report)?;
    variables.set("COMPOSE_PROJECT_NAME", &name);
    for document in &mut documents {
        interpolate::tree(document, &mut variables, &mut report);
    }
    let stop = |report: Report| LoadError::Diagnostics(report.finish());
    let Some(root) = merge::all(documents, &mut report) else {
        if !report.has_errors() {
            report
                .error_without_place("the Compose file is empty")
                .help("name at least one service under `services:`");
        }
        return Err(stop(report));
    };
    let context =
        decode::Context { directory: &found.directory, home: options.home.as_deref(), variables: &variables };
    let project = decode::project(&root, name, &context, &mut report);
    check::all(&project, options, &mut report);
    if report.has_errors() {
        return Err(stop(report));
    }
    let stack = lower::stack(&project, found.directory, found.paths);
    Ok(Loaded { stack, warnings: report.finish(), project, environment: found.variables })
}

/// The project's name alone, for verbs such as `down` that have to work when the file is broken or gone.
///
/// # Errors
/// When a name was given that is not one.
pub fn project_name_only(options: &LoadOptions) -> Result<String, LoadError> {
    let mut report = Report::default();
    let (documents, directory, variables, dotenv) = match files::find(options, &mut report) {
        Ok(found) => {
            let documents = found
                .inputs
                .into_iter()
                .filter_map(|input| yaml::parse(&input.path, input.text, &mut report))
                .flatten()
                .collect();
            (documents, found.directory, found.variables, found.dotenv)
        }
        Err(_) => {
            let directory = options.project_directory.as_ref().map(|folder| options.current_dir.join(folder));
            let directory = directory.unwrap_or_else(|| options.current_dir.clone());
            (Vec::new(), directory, options.environment.clone(), BTreeMap::new())
        }
    };
    let mut values = Variables::new(&options.environment, dotenv);
    name::choose(options, &variables, &documents, &directory, &mut values, &mut Report::default())
}
