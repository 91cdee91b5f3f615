//! Tools outside the system's folders that the caller's PATH names, such as ~/.cargo/bin or ~/.pyenv/shims: the one
//! thing of the host's homes that is visible.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::mask::{self, Look};
use super::seen::{self, Seen};
use super::{is_system, name};

/// Never visible, even where PATH names something in them.
const HIDDEN: [&str; 7] = ["/dev", "/proc", "/run", "/sys", "/tmp", "/var/lib/compose", "/var/run"];
/// Too much to show as a whole, though single folders in them may be shown.
const KEPT: [&str; 2] = ["/home", "/root"];
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
/// How deep a tool's folder is looked at. What its packages unpack lies deeper, tens of thousands of files of it: a
/// second or more to look at, when the first container starts.
const LEVELS: usize = 5;
/// Below ~/.local, where much else lies that is the user's own.
const LOCAL: [&str; 6] = ["bin", "lib", "pipx", "share/mise", "share/pipx", "share/uv"];

/// The folders to show for this PATH, none inside another. What a link leads to decides; it is shown where PATH has it.
pub fn folders(path: &[PathBuf]) -> Vec<PathBuf> {
    let homes = homes(&fs::read_to_string("/etc/passwd").unwrap_or_default());
    let mut found: Vec<PathBuf> = path
        .iter()
        .filter(|folder| {
            folder.is_absolute() && !folder.components().any(|part| part == Component::ParentDir)
        })
        .flat_map(|folder| installation(folder))
        .filter(|folder| may_show(folder, &homes))
        .filter(|folder| fs::canonicalize(folder).is_ok_and(|real| real.is_dir() && may_show(&real, &homes)))
        .collect();
    found.sort();
    found.dedup();
    let all = found.clone();
    found.retain(|folder| !all.iter().any(|other| other != folder && folder.starts_with(other)));
    found
}

fn may_show(folder: &Path, homes: &[PathBuf]) -> bool {
    let is_hidden = HIDDEN.iter().any(|hidden| folder.starts_with(hidden));
    let kept =
        HIDDEN.iter().map(Path::new).chain(KEPT.map(Path::new)).chain(homes.iter().map(PathBuf::as_path));
    let holds_hidden = kept.into_iter().any(|kept| kept.starts_with(folder));
    !is_system(folder) && !is_hidden && !holds_hidden && folder.parent() != Some(Path::new("/home"))
}

/// The homes of root and of people, as passwd(5) has them and where they lead to.
fn homes(passwd: &str) -> Vec<PathBuf> {
    let named = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let user: u32 = fields.next()?.parse().ok()?;
        let home = fields.nth(2).filter(|home| home.starts_with('/'))?;
        (user == 0 || user >= 1000).then(|| PathBuf::from(home))
    });
    named.flat_map(|home| fs::canonicalize(&home).into_iter().chain([home])).collect()
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

/// The layer over a tool's folder that hides its logins and keys, if it has any. It is made for the first container
/// that needs it; of several that start at once, each makes one and the first to be ready is taken.
pub fn layer(mask: &Path, folder: &Path) -> io::Result<Option<PathBuf>> {
    let tools = tools(mask);
    let ready = tools.join(name(folder));
    if !ready.is_dir() {
        fs::create_dir_all(&tools)?;
        // A process number is none: each of them is the first of its own namespace.
        let aside = nix::unistd::mkdtemp(&tools.join(".XXXXXX"))?;
        let mut seen = Seen::new();
        let mut look = Look::new(folder, &mut seen);
        look.names = &CREDENTIALS;
        look.by_mode = is_shared(folder);
        look.at(Path::new(""), LEVELS)?;
        look.blot_out(&aside.join("layer"))?;
        seen.write(&aside.join("seen"))?;
        if let Err(error) = fs::rename(&aside, &ready) {
            fs::remove_dir_all(&aside)?;
            if !ready.is_dir() {
                return Err(error);
            }
        }
    }
    Ok(Some(ready.join("layer")).filter(|layer| layer.is_dir()))
}

fn tools(mask: &Path) -> PathBuf {
    mask.join("tools")
}

/// Where everything is closed to others (umask 077), permissions tell no secrets from programs.
fn is_shared(folder: &Path) -> bool {
    ["", "bin", "sbin", "shims"]
        .iter()
        .any(|below| fs::metadata(folder.join(below)).is_ok_and(|metadata| mask::is_open(&metadata)))
}

/// Whether the layers made so far hide what they would if they were made now.
pub fn are_current(mask: &Path) -> bool {
    let made = fs::read_dir(tools(mask)).into_iter().flatten().flatten();
    // What was left half-made has no name of a folder.
    let mut made = made.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    made.all(|entry| seen::is_unchanged(&entry.path().join("seen")))
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

    #[test]
    fn homes_and_what_holds_hidden_folders_are_left_out() {
        let homes = homes(
            "root:x:0:0::/root:/bin/sh\neve:x:1001:1001::/srv/eve:/bin/sh\nwww:x:33:33::/srv/www:/bin/sh\n",
        );
        for folder in
            ["/", "/var", "/var/lib", "/var/lib/compose/x", "/home", "/root", "/home/ann", "/srv", "/srv/eve"]
        {
            assert!(!may_show(Path::new(folder), &homes), "{folder}");
        }
        for folder in
            ["/home/ann/bin", "/root/bin", "/srv/eve/.cargo", "/srv/www", "/var/lib/flatpak/exports/bin"]
        {
            assert!(may_show(Path::new(folder), &homes), "{folder}");
        }
    }

    #[test]
    fn a_tool_s_logins_are_hidden_by_a_layer_made_once() {
        let folder = std::env::temp_dir().join(format!("compose-tools-{}", std::process::id()));
        let (tool, mask) = (folder.join("tool"), folder.join("mask"));
        fs::create_dir_all(tool.join("bin")).unwrap();
        for file in ["config.json", "bin/program", "bin/id_rsa", "bin/config.json"] {
            fs::write(tool.join(file), "").unwrap();
        }
        let made: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| layer(&mask, &tool).unwrap().unwrap());
            let started: Vec<_> = (0..4).map(|_| start()).collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(made.iter().all(|layer| layer == &made[0]));
        let hidden = |file: &str| fs::symlink_metadata(made[0].join(file)).is_ok();
        assert!(hidden("config.json") && hidden("bin/id_rsa"));
        assert!(!hidden("bin/program") && !hidden("bin/config.json"));
        assert_eq!(fs::read_dir(tools(&mask)).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
