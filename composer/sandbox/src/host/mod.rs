//! `x-rootfs: host`: the host's own programs as a root filesystem.
//!
//! The system's folders (/usr, /etc, /opt and, where they are no links into /usr, /bin, /sbin, /lib…) lie
//! copy-on-write in a skeleton of otherwise empty folders, each as an overlay of its own with a layer on top that
//! blots out what must not be seen. Everything else of the host is simply not there: nothing has to be hidden that
//! was not put there. Tools that PATH names outside the system's folders are added (see `tools`).

mod mask;
mod tools;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Result};
use crate::mount;
use crate::tree::{Missing, Tree, on_host};

/// Folders that hold the system's programs and their configuration.
const SYSTEM: [&str; 10] =
    ["/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix"];
/// Where files are looked at one by one. What packages put into /usr is the same on every machine.
const WATCHED: [&str; 3] = ["/etc", "/opt", "/usr/local/etc"];
/// Empty folders of the skeleton, with their permissions.
const EMPTY: [(&str, u32); 19] = [
    ("dev", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    // Tools of the caller's may lie below.
    ("root", 0o711),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// A folder of the host's that is part of the root filesystem.
#[derive(Serialize, Deserialize)]
struct Part {
    folder: PathBuf,
    /// Whether it has a layer of its own in [`layer`].
    masked: bool,
}

/// The lowest layer of the root filesystem.
pub(crate) fn skeleton(mask: &Path) -> PathBuf {
    mask.join("skeleton")
}

fn parts_file(mask: &Path) -> PathBuf {
    mask.join("parts.json")
}

fn layer(mask: &Path, folder: &Path) -> PathBuf {
    mask.join("layers").join(name(folder))
}

/// A folder's path as the name of one.
fn name(folder: &Path) -> String {
    folder.display().to_string().replace('%', "%25").replace('/', "%2F")
}

/// Makes what all containers over the host's programs share: the skeleton and the layers that hide the host's secrets
/// (what only root or a group may read, and what is named like a key). It is made aside and put in place at once.
///
/// # Errors
/// Those of reading the host's folders and of writing below the parent of `mask`.
pub fn prepare_mask(mask: &Path) -> io::Result<()> {
    let aside = mask.with_extension("new");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(skeleton(&aside))?;
    for (folder, mode) in EMPTY {
        let folder = skeleton(&aside).join(folder);
        fs::DirBuilder::new().mode(mode).create(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode))?;
    }
    symlink("/run", skeleton(&aside).join("var/run"))?;
    symlink("/run/lock", skeleton(&aside).join("var/lock"))?;
    let mut parts = Vec::new();
    for folder in SYSTEM.map(Path::new) {
        let place = skeleton(&aside).join(folder.strip_prefix("/").unwrap_or(folder));
        match fs::symlink_metadata(folder) {
            Ok(metadata) if metadata.is_symlink() => symlink(fs::read_link(folder)?, place)?,
            Ok(metadata) if metadata.is_dir() => {
                fs::create_dir(place)?;
                parts.push(part(&aside, folder)?);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // An overlay shows one filesystem: what is mounted inside a folder needs one of its own.
    for inner in mounted_inside(&parts)? {
        parts.push(part(&aside, &inner)?);
    }
    fs::write(parts_file(&aside), serde_json::to_vec(&parts)?)?;
    fs::rename(&aside, mask)
}

fn part(mask: &Path, folder: &Path) -> io::Result<Part> {
    let layer = layer(mask, folder);
    for watched in WATCHED.map(Path::new) {
        let watched = if folder.starts_with(watched) { folder } else { watched };
        if let Ok(below) = watched.strip_prefix(folder) {
            mask::blot_out(folder, below, &layer)?;
        }
    }
    Ok(Part { folder: folder.to_owned(), masked: layer.exists() })
}

fn mounted_inside(parts: &[Part]) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let mut inside: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| Some(PathBuf::from(unescape(line.split(' ').nth(4)?))))
        .filter(|place| parts.iter().any(|part| place != &part.folder && place.starts_with(&part.folder)))
        .filter(|place| place.is_dir())
        .collect();
    inside.sort();
    inside.dedup();
    Ok(inside)
}

/// Octal escapes of proc_pid_mountinfo(5).
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Mounts the host's folders into the skeleton. `overlay` makes one, copy-on-write under a name of its own.
pub(crate) fn mount_parts(
    tree: &Tree,
    mask: &Path,
    path: &[PathBuf],
    overlay: &mut dyn FnMut(&str, &[&OwnedFd]) -> Result<OwnedFd>,
) -> Result<()> {
    let file = parts_file(mask);
    let parts = fs::read(&file).and_then(|text| Ok(serde_json::from_slice::<Vec<Part>>(&text)?));
    let parts = parts.doing("read", file.display())?;
    let mut attach = |folder: &Path, layers: &[&OwnedFd]| {
        let mounted = overlay(&name(folder), layers)?;
        tree.ensure(folder, Missing::Folder)
            .and_then(|place| mount::attach(&mounted, place))
            .doing("mount the host's", folder.display())
    };
    for part in &parts {
        let folder = on_host(&part.folder).doing("open", part.folder.display())?;
        if part.masked {
            let layer = layer(mask, &part.folder);
            let layer = on_host(&layer).doing("open", layer.display())?;
            attach(&part.folder, &[&layer, &folder])?;
        } else {
            attach(&part.folder, &[&folder])?;
        }
    }
    for tool in tools::folders(path) {
        let folder = on_host(&tool).doing("open", tool.display())?;
        attach(&tool, &[&folder])?;
        tools::hide_credentials(tree, &tool)?;
    }
    Ok(())
}

/// Whether a folder is the system's: its tools need not be added.
fn is_system(folder: &Path) -> bool {
    SYSTEM.iter().any(|system| folder.starts_with(system))
}
