//! Layers of whiteouts (overlayfs: a character device 0/0) over the host's secrets.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// Others may read, and enter.
const OPEN_FOLDER: u32 = 0o005;
/// Others may read.
const OPEN_FILE: u32 = 0o004;

/// Names that secrets have even where everybody may read them.
fn is_secret(name: &str) -> bool {
    const WHOLE: [&str; 9] =
        [".netrc", ".pgpass", "gshadow", "gshadow-", "id_ecdsa", "id_ed25519", "id_rsa", "shadow", "shadow-"];
    const ENDS: [&str; 5] = [".key", ".keytab", ".p12", ".pfx", "_key"];
    WHOLE.contains(&name) || ENDS.iter().any(|end| name.ends_with(end))
}

/// Writes whiteouts for what is secret at and below `folder/below` into a layer over `folder`.
pub fn blot_out(folder: &Path, below: &Path, layer: &Path) -> io::Result<()> {
    let here = folder.join(below);
    let entries = match fs::read_dir(&here) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        // It may have been removed in this moment.
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let below = below.join(entry.file_name());
        if metadata.is_dir() {
            if metadata.mode() & OPEN_FOLDER == OPEN_FOLDER {
                blot_out(folder, &below, layer)?;
            } else {
                whiteout(folder, &below, layer)?;
            }
        } else if !metadata.is_symlink()
            && (metadata.mode() & OPEN_FILE == 0 || is_secret(&entry.file_name().to_string_lossy()))
        {
            whiteout(folder, &below, layer)?;
        }
    }
    Ok(())
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
        let like = fs::metadata(folder.join(parent))?;
        fs::create_dir_all(&made)?;
        chown(&made, Some(like.uid()), Some(like.gid()))?;
        fs::set_permissions(&made, fs::Permissions::from_mode(like.mode() & 0o7777))?;
    }
    Ok(mknodat(CWD, layer.join(below), FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_permission_and_by_name() {
        let folder = std::env::temp_dir().join(format!("compose-mask-{}", std::process::id()));
        let (host, layer) = (folder.join("host"), folder.join("layer"));
        fs::create_dir_all(host.join("ssl/private")).unwrap();
        fs::create_dir_all(host.join("plain")).unwrap();
        for (file, mode) in [
            ("ssl/private/a", 0o644),
            ("plain/open", 0o644),
            ("plain/closed", 0o640),
            ("plain/tls.key", 0o644),
        ] {
            fs::write(host.join(file), "").unwrap();
            fs::set_permissions(host.join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(host.join("ssl/private"), fs::Permissions::from_mode(0o710)).unwrap();
        blot_out(&host, Path::new(""), &layer).unwrap();
        let hidden = |file: &str| fs::symlink_metadata(layer.join(file)).is_ok();
        assert!(hidden("ssl/private") && hidden("plain/closed") && hidden("plain/tls.key"));
        assert!(!hidden("plain/open"));
        fs::remove_dir_all(folder).unwrap();
    }
}
