//! What a command line says in the file's own forms: command lines, env files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::Report;
use crate::error::LoadError;
use crate::model::{Port, PortMode, Protocol};
use crate::options::LoadOptions;
use crate::read::Reader;
use crate::{dotenv, lower, shape, words};

/// The words of a command line, as `command: TEXT` has them; `None` where a quote is never closed.
pub fn split_words(text: &str) -> Option<Vec<String>> {
    words::line(text).map(|line| line.words)
}

/// Ports in the short form of `ports`.
///
/// # Errors
/// Why they are none.
pub fn split_ports(text: &str) -> Result<Vec<Port>, String> {
    shape::short_ports(text)?
        .into_iter()
        .map(|port| {
            let protocol = match port.protocol.as_str() {
                "udp" => Protocol::Udp,
                "tcp" => Protocol::Tcp,
                other => return Err(format!("ports of `{other}` cannot be published")),
            };
            Ok(Port {
                host_ip: port.address.and_then(|address| address.parse().ok()),
                published: port.published.as_deref().and_then(lower::published),
                target: port.target,
                protocol,
                mode: PortMode::default(),
                name: None,
                app_protocol: None,
            })
        })
        .collect()
}

/// The variables of an env file, which may use `known` ones. `current_dir` is where a relative path begins.
///
/// # Errors
/// What is wrong in the file, each with its place, or that it cannot be read.
pub fn env_file(
    path: &Path,
    current_dir: &Path,
    known: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, LoadError> {
    let mut report = Report::default();
    let options = LoadOptions { current_dir: current_dir.to_owned(), ..LoadOptions::default() };
    let mut variables = BTreeMap::new();
    match Reader::new(&options).env_file(&current_dir.join(path), &mut report) {
        Ok(file) => {
            let lookup = |name: &str| Some((known.get(name)?.as_str(), dotenv::Giver::Caller));
            dotenv::parse(&file, &lookup, &mut variables, &mut report);
        }
        Err(error) => {
            report
                .error_without_place(format!("cannot read {}: {error}", path.display()))
                .help("is it the right path?");
        }
    }
    if report.has_errors() {
        return Err(LoadError::Diagnostics(report.finish()));
    }
    Ok(variables.into_iter().map(|(name, variable)| (name, variable.value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_a_file() {
        assert_eq!(split_words("sh -c 'a b'"), Some(vec!["sh".into(), "-c".into(), "a b".into()]));
        assert_eq!(split_words(""), Some(Vec::new()));
        assert_eq!(split_words("'a"), None);
    }

    #[test]
    fn an_env_file_that_is_missing_or_wrong_is_told_of() {
        let folder = std::env::temp_dir();
        let name = format!("command-line-{}.env", std::process::id());
        let known = BTreeMap::from([("WHO".to_owned(), "me".to_owned())]);
        let missing = env_file(Path::new(&name), &folder, &known).unwrap_err().to_string();
        assert!(missing.contains(&name) && missing.contains("cannot read"), "{missing}");
        std::fs::write(folder.join(&name), "A='1 2'\nB=${WHO}\n").unwrap();
        let read = env_file(Path::new(&name), &folder, &known).unwrap();
        std::fs::write(folder.join(&name), "A='1\n").unwrap();
        let wrong = env_file(Path::new(&name), &folder, &known);
        std::fs::remove_file(folder.join(&name)).unwrap();
        assert_eq!(read, BTreeMap::from([("A".into(), "1 2".into()), ("B".into(), "me".into())]));
        assert!(wrong.is_err());
    }
}
