//! Which files make up the project, its folder, and the environment that variables are looked up in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::options::LoadOptions;
use crate::read::{self, Reader, is_stdin};

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What was found.
pub(crate) struct Found {
    /// Absolute, but for `-`; empty where none was named and none is there, which has been reported.
    pub paths: Vec<PathBuf>,
    /// The project directory, absolute.
    pub directory: PathBuf,
    /// The caller's environment above that of `.env` or `--env-file`.
    pub environment: Environment,
}

/// Finds the files of `options`. As in Docker Compose, two `.env` may count: the one where the search begins, which
/// may say in `COMPOSE_FILE` where the files are, and the one in the project directory.
pub(crate) fn find(options: &LoadOptions, reader: &mut Reader, report: &mut Report) -> Found {
    let current = &options.current_dir;
    let explicit = options.project_directory.as_ref().map(|folder| clean(&current.join(folder)));
    let mut environment = Environment::new(&options.environment);
    if environment.get("PWD").is_none() {
        environment.set("PWD", &current.display().to_string());
    }
    let mut files = options.files.clone();
    let start = explicit.clone().unwrap_or_else(|| folder(&absolute(&files, current), current));
    read_env_files(options, &start, &mut environment, reader, report);
    if files.is_empty() {
        files = from_variable(&environment);
    }
    if files.is_empty() {
        files = search(&start, report);
    }
    let paths = absolute(&files, current);
    let directory = explicit.unwrap_or_else(|| folder(&paths, current));
    if directory != start && options.env_files.is_empty() {
        read_env_files(options, &directory, &mut environment, reader, report);
    }
    Found { paths, directory, environment }
}

fn absolute(files: &[PathBuf], current: &Path) -> Vec<PathBuf> {
    let kept = |file: &Path| is_stdin(file) || file.to_str().is_some_and(read::is_remote);
    let path = |file: &PathBuf| if kept(file) { file.clone() } else { clean(&current.join(file)) };
    files.iter().map(path).collect()
}

/// The folder of the first file.
fn folder(paths: &[PathBuf], current: &Path) -> PathBuf {
    let first = paths.iter().find(|path| path.is_absolute()).and_then(|path| path.parent());
    first.unwrap_or(current).to_owned()
}

/// `COMPOSE_FILE`, split at `COMPOSE_PATH_SEPARATOR`.
fn from_variable(environment: &Environment) -> Vec<PathBuf> {
    let files = environment.get("COMPOSE_FILE").unwrap_or_default();
    let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty());
    files.split(separator.unwrap_or(":")).filter(|file| !file.is_empty()).map(PathBuf::from).collect()
}

/// Looks for a default file in `start` and above, and for the override file beside it.
fn search(start: &Path, report: &mut Report) -> Vec<PathBuf> {
    for folder in start.ancestors() {
        let mut found = Vec::new();
        for (names, what) in [(NAMES, "Compose files"), (OVERRIDES, "override files")] {
            let mut there = names.iter().map(|name| folder.join(name)).filter(|path| path.exists());
            let Some(first) = there.next() else {
                break;
            };
            if let Some(second) = there.next() {
                report
                    .warning_without_place(format!(
                        "there are several {what} in {}: {} is read, {} is not",
                        folder.display(),
                        name(&first),
                        name(&second)
                    ))
                    .help("keep one of them, or name the files with -f");
            }
            found.push(first);
        }
        if !found.is_empty() {
            return found;
        }
    }
    report.error_without_place(format!(
        "no Compose file found: looked for {} in {} and the folders above it",
        NAMES.join(", "),
        start.display()
    ));
    Vec::new()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Adds `--env-file`, `COMPOSE_ENV_FILES` or the `.env` of `directory` to the environment.
fn read_env_files(
    options: &LoadOptions,
    directory: &Path,
    environment: &mut Environment,
    reader: &mut Reader,
    report: &mut Report,
) {
    let mut variables = BTreeMap::new();
    for path in env_files(options, directory) {
        match reader.env_file(&path, report) {
            Ok(file) => environment.read(&file, &mut variables, report),
            Err(error) => read::cannot(&path, &error, None, report),
        }
    }
    environment.add(variables);
}

fn env_files(options: &LoadOptions, directory: &Path) -> Vec<PathBuf> {
    let caller = |name: &str| options.environment.get(name).map(String::as_str).unwrap_or_default();
    if !options.env_files.is_empty() {
        return absolute(&options.env_files, &options.current_dir);
    }
    let named: Vec<PathBuf> =
        caller("COMPOSE_ENV_FILES").split(',').filter(|file| !file.is_empty()).map(PathBuf::from).collect();
    if !named.is_empty() {
        return absolute(&named, &options.current_dir);
    }
    let default = directory.join(".env");
    let disabled = matches!(caller("COMPOSE_DISABLE_ENV_FILE"), "1" | "t" | "T" | "true" | "TRUE" | "True");
    // A folder of that name is nothing of ours.
    if disabled || !default.exists() || default.is_dir() { Vec::new() } else { vec![default] }
}

/// A path below the home directory. As in Docker Compose, which knows no other users' homes, that is every path that
/// begins with `~`; it leaves those of `include` and `extends` alone, where a file of such a name is `./~name` here.
pub(crate) fn under_home(text: &str, home: Option<&Path>) -> Option<PathBuf> {
    let rest = text.strip_prefix('~')?;
    Some(clean(&home?.join(rest.trim_start_matches('/'))))
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

/// The way from the folder `base` to `path`, both absolute and clean.
pub(crate) fn relative(path: &Path, base: &Path) -> PathBuf {
    let shared = path.components().zip(base.components()).take_while(|(a, b)| a == b).count();
    let up = base.components().skip(shared).map(|_| std::path::Component::ParentDir);
    up.chain(path.components().skip(shared)).collect()
}

/// The same for a path inside of a container.
pub(crate) fn clean_text(path: &str) -> String {
    let path = clean(Path::new(path)).display().to_string();
    if path.is_empty() { ".".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_the_home_directory() {
        let home = Some(Path::new("/home/ann"));
        for (text, path) in
            [("~", "/home/ann"), ("~/a", "/home/ann/a"), ("~bob", "/home/ann/bob"), ("~/../b", "/home/b")]
        {
            assert_eq!(under_home(text, home), Some(PathBuf::from(path)), "{text}");
        }
        assert_eq!(under_home("a/~", home), None);
        assert_eq!(under_home("~/a", None), None);
    }
}
