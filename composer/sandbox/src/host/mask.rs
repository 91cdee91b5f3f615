//! Layers of whiteouts (overlayfs: a character device 0/0) over the host's secrets.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;

use super::seen::Seen;

/// Others may read, and enter.
const OPEN_FOLDER: u32 = 0o005;
/// Others may read.
const OPEN_FILE: u32 = 0o004;
/// How much of a certificate file is searched for a key: those that hold both begin with either.
const SEARCHED: u64 = 4096;

/// Names that secrets have even where everybody may read them.
fn is_secret(name: &str) -> bool {
    const WHOLE: [&str; 17] = [
        ".dockercfg",
        ".env",
        ".git-credentials",
        ".htpasswd",
        ".netrc",
        ".pgpass",
        "credentials",
        "gshadow",
        "gshadow-",
        "id_dsa",
        "id_ecdsa",
        "id_ecdsa_sk",
        "id_ed25519",
        "id_ed25519_sk",
        "id_rsa",
        "shadow",
        "shadow-",
    ];
    const ENDS: [&str; 7] = [".key", ".keytab", ".p12", ".pfx", "_key", "-key.pem", "_key.pem"];
    WHOLE.contains(&name)
        || ENDS.iter().any(|end| name.ends_with(end))
        || is_pem(name) && (name == "key.pem" || name.starts_with("privkey"))
}

fn is_pem(name: &str) -> bool {
    name.ends_with(".pem")
}

/// Whether a certificate file has a private key beside the certificate, or is one under another name.
fn holds_key(file: &Path) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut text = Vec::new();
    // What cannot be read here is not shown to be harmless.
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(file)
        .and_then(|file| file.take(SEARCHED).read_to_end(&mut text))
        .is_err()
        || text.windows(MARK.len()).any(|part| part == MARK)
}

pub fn is_open(folder: &Metadata) -> bool {
    folder.mode() & OPEN_FOLDER == OPEN_FOLDER
}

/// A look at a folder for what is secret in it.
pub struct Look<'a> {
    folder: &'a Path,
    /// Whether permissions tell secrets from the rest.
    pub by_mode: bool,
    /// More names that are secret, right in the folder.
    pub names: &'a [&'a str],
    /// The folders it went through.
    pub seen: &'a mut Seen,
    hidden: Vec<PathBuf>,
}

impl<'a> Look<'a> {
    pub fn new(folder: &'a Path, seen: &'a mut Seen) -> Self {
        Self { folder, by_mode: true, names: &[], seen, hidden: Vec::new() }
    }

    /// Looks at `below` in the folder and so many levels of what is in it. Links are not followed: what they lead to
    /// is either looked at where it is or not there for the container.
    pub fn at(&mut self, below: &Path, levels: usize) -> io::Result<()> {
        let here = self.folder.join(below);
        // The folder itself is what it leads to.
        let top = below.as_os_str().is_empty();
        let metadata = if top { fs::metadata(&here) } else { fs::symlink_metadata(&here) };
        match metadata {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(metadata) if !metadata.is_dir() => Ok(()),
            Ok(metadata) if self.by_mode && !top && !is_open(&metadata) => {
                self.hide(below.to_owned());
                Ok(())
            }
            Ok(metadata) => self.inside(below, here, &metadata, levels),
        }
    }

    fn inside(&mut self, below: &Path, here: PathBuf, metadata: &Metadata, levels: usize) -> io::Result<()> {
        let entries = match fs::read_dir(&here) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Another user's filesystem (fuse(4)), which root may not enter: nor may the container.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.hide(below.to_owned());
                return Ok(());
            }
            other => other?,
        };
        self.seen.add(here, metadata);
        let names = if below.as_os_str().is_empty() { self.names } else { &[] };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let kind = entry.file_type()?;
            if names.contains(&text.as_ref()) || !kind.is_symlink() && !kind.is_dir() && is_secret(&text) {
                self.hide(below.join(&name));
                continue;
            }
            if kind.is_symlink() || !self.by_mode && !kind.is_dir() && !is_pem(&text) {
                continue;
            }
            // It may have been removed in this moment.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if kind.is_dir() {
                if self.by_mode && !is_open(&metadata) {
                    self.hide(below.join(&name));
                } else if levels > 1 {
                    self.inside(&below.join(&name), entry.path(), &metadata, levels - 1)?;
                }
            } else if self.by_mode && metadata.mode() & OPEN_FILE == 0
                || is_pem(&text) && kind.is_file() && holds_key(&entry.path())
            {
                self.hide(below.join(&name));
            }
        }
        Ok(())
    }

    /// Hides what is at a path in the folder.
    pub fn hide(&mut self, below: PathBuf) {
        self.hidden.push(below);
    }

    /// Writes whiteouts for what is to be hidden into a layer over the folder, and tells what that is.
    pub fn blot_out(mut self, layer: &Path) -> io::Result<Vec<PathBuf>> {
        self.hidden.sort();
        // There is nothing below a whiteout. What is below a path comes right after it.
        self.hidden.dedup_by(|below, kept| below.starts_with(kept));
        for below in &self.hidden {
            whiteout(self.folder, below, layer)?;
        }
        Ok(self.hidden)
    }
}

fn whiteout(folder: &Path, below: &Path, layer: &Path) -> io::Result<()> {
    // The layer's folders stand for the host's: their owners and permissions are the ones that are seen.
    let mut parents: Vec<&Path> = below.ancestors().skip(1).collect();
    parents.reverse();
    for parent in parents {
        let made = layer.join(parent);
        if made.is_dir() {
            continue;
        }
        let like = match fs::metadata(folder.join(parent)) {
            // It has gone since it was looked at, with what was to be hidden: nor is anything seen that comes in its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !parent.as_os_str().is_empty() => {
                return whiteout_at(&layer.join(parent));
            }
            other => other?,
        };
        fs::create_dir_all(&made)?;
        chown(&made, Some(like.uid()), Some(like.gid()))?;
        fs::set_permissions(&made, fs::Permissions::from_mode(like.mode() & 0o7777))?;
    }
    whiteout_at(&layer.join(below))
}

/// Where there is one already, that hides as much.
fn whiteout_at(place: &Path) -> io::Result<()> {
    match mknodat(CWD, place, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn host(name: &str, files: &[(&str, u32, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("compose-mask-{name}-{}", std::process::id()));
        for (file, mode, text) in files {
            let file = folder.join("host").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
        }
        folder
    }

    #[test]
    fn secrets_are_known_by_permission_and_by_name() {
        let key = "-----BEGIN EC PRIVATE KEY-----\n";
        let folder = host(
            "known",
            &[
                ("ssl/private/a", 0o644, ""),
                ("plain/open", 0o644, ""),
                ("plain/closed", 0o640, ""),
                ("plain/setuid", 0o4750, ""),
                ("plain/tls.key", 0o644, ""),
                ("plain/privkey1.pem", 0o644, ""),
                ("plain/web-key.pem", 0o644, ""),
                ("plain/server.pem", 0o644, key),
                ("plain/ca.pem", 0o644, "-----BEGIN CERTIFICATE-----\n"),
                ("plain/.env", 0o644, ""),
            ],
        );
        let (host, layer) = (folder.join("host"), folder.join("layer"));
        fs::set_permissions(host.join("ssl/private"), fs::Permissions::from_mode(0o710)).unwrap();
        symlink("server.pem", host.join("plain/link.pem")).unwrap();
        let mut seen = Seen::new();
        let mut look = Look::new(&host, &mut seen);
        look.at(Path::new(""), usize::MAX).unwrap();
        look.blot_out(&layer).unwrap();
        let hidden = |file: &str| fs::symlink_metadata(layer.join(file)).is_ok();
        for file in ["ssl/private", "plain/closed", "plain/setuid", "plain/tls.key", "plain/privkey1.pem"] {
            assert!(hidden(file), "{file}");
        }
        assert!(hidden("plain/web-key.pem") && hidden("plain/server.pem") && hidden("plain/.env"));
        assert!(!hidden("plain/open") && !hidden("plain/ca.pem") && !hidden("plain/link.pem"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_goes_before_its_secrets_are_hidden_is_hidden_whole() {
        let folder = host(
            "gone",
            &[("stays/closed", 0o600, ""), ("gone/a.key", 0o644, ""), ("gone/b.key", 0o644, "")],
        );
        let (host, layer) = (folder.join("host"), folder.join("layer"));
        let mut seen = Seen::new();
        let mut look = Look::new(&host, &mut seen);
        look.at(Path::new(""), 2).unwrap();
        fs::remove_dir_all(host.join("gone")).unwrap();
        look.blot_out(&layer).unwrap();
        let hidden = |file: &str| !fs::symlink_metadata(layer.join(file)).unwrap().is_dir();
        assert!(hidden("gone") && hidden("stays/closed"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_look_goes_as_deep_as_it_is_told() {
        let folder = host("deep", &[("a/b/closed", 0o600, ""), ("a/closed", 0o600, ""), ("top", 0o600, "")]);
        let (host, layer) = (folder.join("host"), folder.join("layer"));
        let mut seen = Seen::new();
        let mut look = Look::new(&host, &mut seen);
        look.at(Path::new(""), 2).unwrap();
        // What is hidden already may be named once more.
        look.hide("a/closed".into());
        look.hide("top/below".into());
        assert_eq!(look.blot_out(&layer).unwrap(), ["a/closed", "top"].map(PathBuf::from));
        let mut look = Look::new(&host, &mut seen);
        (look.by_mode, look.names) = (false, &["top"]);
        look.at(Path::new(""), usize::MAX).unwrap();
        assert_eq!(look.hidden, [PathBuf::from("top")]);
        fs::remove_dir_all(folder).unwrap();
    }
}
