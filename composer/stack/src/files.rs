//! Which files make up the project, and the text of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::dotenv::{self, Variable};
use crate::error::LoadError;
use crate::load::LoadOptions;

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];

/// A file's text.
pub(crate) struct Input {
    /// As diagnostics name it: relative to the current directory where it lies below it.
    pub path: PathBuf,
    pub text: String,
}

/// What was found.
pub(crate) struct Found {
    pub inputs: Vec<Input>,
    /// Absolute.
    pub paths: Vec<PathBuf>,
    /// The project directory, absolute.
    pub directory: PathBuf,
    /// `.env` or `--env-file`.
    pub dotenv: BTreeMap<String, Variable>,
    /// The caller's environment above `dotenv`, for COMPOSE_* variables.
    pub variables: BTreeMap<String, String>,
}

/// Finds and reads the files of `options`.
pub(crate) fn find(options: &LoadOptions, report: &mut Report) -> Result<Found, LoadError> {
    let current = &options.current_dir;
    let explicit = options.project_directory.as_ref().map(|folder| clean(&current.join(folder)));
    let mut files = options.files.clone();
    if files.is_empty() {
        files = from_variable(&options.environment);
    }
    // `.env` beside the current directory may name the files; afterwards the project directory's counts.
    let here = explicit.clone().unwrap_or_else(|| current.clone());
    if files.is_empty() && options.env_files.is_empty() {
        let dotenv = read_dotenv(options, &here, &mut Report::default())?;
        files = from_variable(&values(&dotenv));
    }
    if files.is_empty() {
        files = search(&here)?;
    }
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|file| if is_stdin(file) { file.clone() } else { clean(&current.join(file)) })
        .collect();
    let first = paths.iter().find(|path| !is_stdin(path)).and_then(|path| path.parent());
    let directory = explicit.unwrap_or_else(|| first.unwrap_or(current).to_owned());
    let dotenv = read_dotenv(options, &directory, report)?;
    let mut variables = values(&dotenv);
    variables.extend(options.environment.clone());
    let mut inputs = Vec::new();
    for path in &paths {
        let text = if is_stdin(path) { options.stdin.clone().unwrap_or_default() } else { read(path)? };
        inputs.push(Input { path: shown(path, current), text });
    }
    Ok(Found { inputs, paths, directory, dotenv, variables })
}

fn values(dotenv: &BTreeMap<String, Variable>) -> BTreeMap<String, String> {
    dotenv.iter().map(|(name, variable)| (name.clone(), variable.value.clone())).collect()
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// `COMPOSE_FILE`, split at `COMPOSE_PATH_SEPARATOR`.
fn from_variable(variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let Some(files) = variables.get("COMPOSE_FILE").filter(|files| !files.is_empty()) else {
        return Vec::new();
    };
    let separator = variables.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
    let separator = if separator.is_empty() { ":" } else { separator };
    files.split(separator).filter(|file| !file.is_empty()).map(PathBuf::from).collect()
}

/// Looks for a default file in `start` and above, and for the override file beside it.
fn search(start: &Path) -> Result<Vec<PathBuf>, LoadError> {
    for folder in start.ancestors() {
        let Some(file) = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
            continue;
        };
        let extra = OVERRIDES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        return Ok(std::iter::once(file).chain(extra).collect());
    }
    Err(LoadError::NotFound { directory: start.to_owned(), names: NAMES.map(str::to_owned).to_vec() })
}

fn read_dotenv(
    options: &LoadOptions,
    directory: &Path,
    report: &mut Report,
) -> Result<BTreeMap<String, Variable>, LoadError> {
    let mut variables = BTreeMap::new();
    let default = directory.join(".env");
    let paths: Vec<PathBuf> = match options.env_files.as_slice() {
        [] if default.is_file() => vec![default],
        files => files.iter().map(|file| clean(&options.current_dir.join(file))).collect(),
    };
    for path in paths {
        let text = read(&path)?;
        let lookup = |name: &str| options.environment.get(name).map(String::as_str);
        dotenv::parse(&shown(&path, &options.current_dir), text, &lookup, &mut variables, report);
    }
    Ok(variables)
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|source| LoadError::Io { path: path.to_owned(), source })
}

fn shown(path: &Path, current: &Path) -> PathBuf {
    path.strip_prefix(current).unwrap_or(path).to_owned()
}

/// Takes `.` and `..` out of a path without looking at the disk, as Go's `filepath.Clean` does: Docker Compose
/// prints such paths.
pub(crate) fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            Component::ParentDir if out.has_root() => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir | Component::Normal(_) => {
                out.push(component);
            }
        }
    }
    out
}
