//! Tools outside the system's folders that the caller's PATH names, such as ~/.cargo/bin or ~/.pyenv/shims: the one
//! thing of the host's homes that is visible.

use std::path::{Path, PathBuf};

use rustix::fs::CWD;

use super::is_system;
use crate::failure::{Doing, Result};
use crate::mount;
use crate::tree::Tree;

/// Never visible, even where PATH names something in them.
const HIDDEN: [&str; 7] = ["/dev", "/proc", "/run", "/sys", "/tmp", "/var/lib/compose", "/var/run"];
/// What a tool keeps its logins in, in the folder that its `bin` is in.
const CREDENTIALS: [&str; 8] = [
    ".netrc",
    ".npmrc",
    "auth.json",
    "config.json",
    "credentials",
    "credentials.json",
    "credentials.toml",
    "hosts.yml",
];
/// Below ~/.local, where much else lies that is the user's own.
const LOCAL: [&str; 6] = ["bin", "lib", "pipx", "share/mise", "share/pipx", "share/uv"];

/// The folders to show for this PATH, none inside another.
pub fn folders(path: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = path
        .iter()
        .filter(|folder| folder.is_absolute() && !is_system(folder))
        .filter(|folder| !HIDDEN.iter().any(|hidden| folder.starts_with(hidden)))
        .flat_map(|folder| installation(folder))
        .filter(|folder| folder.is_dir())
        .collect();
    found.sort();
    found.dedup();
    let all = found.clone();
    found.retain(|folder| !all.iter().any(|other| other != folder && folder.starts_with(other)));
    found
}

/// What a folder of programs needs: a tool that lives in a hidden folder (~/.pyenv) brings all of it.
fn installation(folder: &Path) -> Vec<PathBuf> {
    let is_hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    let ends_as_usual = ["bin", "sbin", "shims"].iter().any(|end| folder.ends_with(end));
    let parent = folder.parent().unwrap_or(folder);
    if !ends_as_usual || !parent.iter().any(is_hidden) {
        return vec![folder.to_owned()];
    }
    match parent.file_name().and_then(|name| name.to_str()) {
        Some(".local") => LOCAL.iter().map(|below| parent.join(below)).collect(),
        // cargo's programs are links to rustup's.
        Some(".cargo") => vec![parent.to_owned(), parent.with_file_name(".rustup")],
        _ => vec![parent.to_owned()],
    }
}

/// Covers a tool's logins.
pub fn hide_credentials(tree: &Tree, folder: &Path) -> Result<()> {
    for name in CREDENTIALS {
        let file = folder.join(name);
        if let Ok(place) = tree.find(&file) {
            mount::copy(CWD, "/dev/null", false)
                .and_then(|cover| mount::attach(cover, place))
                .doing("hide", file.display())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(folder: &str) -> Vec<String> {
        installation(Path::new(folder)).iter().map(|folder| folder.display().to_string()).collect()
    }

    #[test]
    fn a_tool_brings_its_own_folder_and_no_home() {
        assert_eq!(shown("/home/ann/.pyenv/shims"), ["/home/ann/.pyenv"]);
        assert_eq!(shown("/home/ann/.cargo/bin"), ["/home/ann/.cargo", "/home/ann/.rustup"]);
        assert_eq!(shown("/home/ann/.nvm/versions/node/v20/bin"), ["/home/ann/.nvm/versions/node/v20"]);
        assert_eq!(shown("/home/ann/bin"), ["/home/ann/bin"]);
        assert_eq!(shown("/home/ann/go/bin"), ["/home/ann/go/bin"]);
        assert!(shown("/home/ann/.local/bin").iter().all(|folder| folder != "/home/ann/.local"));
    }

    #[test]
    fn the_system_and_passing_places_are_left_out() {
        let path = ["/usr/bin", "/tmp", "/proc/self", "relative", "/no/such/folder"].map(PathBuf::from);
        assert_eq!(folders(&path), Vec::<PathBuf>::new());
    }
}
