//! `x-rootfs: host`: the host's own programs as a root filesystem.
//!
//! The system's folders (/usr, /etc, /opt and, where they are no links into /usr, /bin, /sbin, /lib…) lie
//! copy-on-write in a skeleton of otherwise empty folders, each as an overlay of its own with a layer on top that
//! blots out what must not be seen. Everything else of the host is simply not there: nothing has to be hidden that
//! was not put there. Tools that PATH names outside the system's folders are added (see `tools`).

mod mask;
mod seen;
mod tools;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::mask::Look;
use self::seen::Seen;
use crate::failure::{Doing, Result};
use crate::mount;
use crate::tree::{Missing, Tree, on_host};

/// Folders that hold the system's programs and their configuration.
const SYSTEM: [&str; 10] =
    ["/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix"];
/// Where files are looked at one by one, and how many levels deep. What packages put deeper into /usr is the same on
/// every machine, and too much to look at.
const WATCHED: [(&str, usize); 10] = [
    ("/bin", 1),
    ("/etc", ALL),
    ("/opt", ALL),
    ("/sbin", 1),
    ("/usr/bin", 1),
    ("/usr/lib", 2),
    ("/usr/libexec", 2),
    ("/usr/local", ALL),
    ("/usr/sbin", 1),
    ("/usr/share", 2),
];
const ALL: usize = usize::MAX;
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

/// The folders that were looked at for the mask.
fn seen_file(mask: &Path) -> PathBuf {
    mask.join("seen")
}

/// What it hides.
fn hidden_file(mask: &Path) -> PathBuf {
    mask.join("hidden")
}

fn layer(mask: &Path, folder: &Path) -> PathBuf {
    mask.join("layers").join(name(folder))
}

/// A folder's path as the name of one.
fn name(folder: &Path) -> String {
    folder.display().to_string().replace('%', "%25").replace('/', "%2F")
}

/// The mask for containers that start now: the newest of `masks` (`mask.1`, `mask.2`… for `mask`), or a new one where
/// the host's folders have changed since and more or less is to be hidden. Older ones are left alone: containers may
/// run over them, and the lower folders of an overlay must not change.
///
/// # Errors
/// Those of [`prepare_mask`].
pub fn current_mask(masks: &Path) -> io::Result<PathBuf> {
    let generation = |number: u64| masks.with_extension(number.to_string());
    let newest = newest(masks)?;
    let old = newest.map(generation);
    if let Some(old) = old.as_ref().filter(|old| is_current(old)) {
        return Ok(old.clone());
    }
    let mask = generation(newest.unwrap_or(0) + 1);
    prepare_mask(&mask)?;
    // Much changes that hides nothing else: then the old one will do, which has layers for tools already.
    if let Some(old) = old
        && tools::are_current(&old)
        && same(&hidden_file(&old), &hidden_file(&mask))
        && same(&parts_file(&old), &parts_file(&mask))
    {
        fs::rename(seen_file(&mask), seen_file(&old))?;
        fs::remove_dir_all(&mask)?;
        return Ok(old);
    }
    Ok(mask)
}

fn newest(masks: &Path) -> io::Result<Option<u64>> {
    let (Some(parent), Some(name)) = (masks.parent(), masks.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let numbers =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok());
    Ok(numbers.max())
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether no folder that was looked at for the mask has changed since.
fn is_current(mask: &Path) -> bool {
    seen::is_unchanged(&seen_file(mask)) && tools::are_current(mask)
}

/// Makes what all containers over the host's programs share: the skeleton and the layers that hide the host's secrets
/// (what only root or a group may read, and what is named like a key). It is made aside and put in place at once.
///
/// # Errors
/// Those of reading the host's folders and of writing below the parent of `mask`.
fn prepare_mask(mask: &Path) -> io::Result<()> {
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
    let mut folders = Vec::new();
    for folder in SYSTEM.map(Path::new) {
        let place = skeleton(&aside).join(folder.strip_prefix("/").unwrap_or(folder));
        match fs::symlink_metadata(folder) {
            Ok(metadata) if metadata.is_symlink() => symlink(fs::read_link(folder)?, place)?,
            Ok(metadata) if metadata.is_dir() => {
                fs::create_dir(place)?;
                // One that is closed to others stays empty.
                if mask::is_open(&metadata) {
                    folders.push(folder.to_owned());
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // An overlay shows one filesystem: what is mounted inside a folder needs one of its own.
    let (inside, closed) = mounted_inside(&folders)?;
    folders.extend(inside);
    let (mut parts, mut hidden, mut seen) = (Vec::new(), Vec::new(), Seen::new());
    for folder in folders {
        let layer = layer(&aside, &folder);
        for below in look(&folder, &closed, &mut seen)?.blot_out(&layer)? {
            hidden.extend_from_slice(folder.join(below).as_os_str().as_bytes());
            hidden.push(0);
        }
        parts.push(Part { folder, masked: layer.exists() });
    }
    fs::write(parts_file(&aside), serde_json::to_vec(&parts)?)?;
    fs::write(hidden_file(&aside), hidden)?;
    seen.write(&seen_file(&aside))?;
    fs::rename(&aside, mask)
}

fn look<'a>(folder: &'a Path, closed: &[PathBuf], seen: &'a mut Seen) -> io::Result<Look<'a>> {
    let mut look = Look::new(folder, seen);
    for (watched, levels) in WATCHED {
        let watched = if folder.starts_with(watched) { folder } else { Path::new(watched) };
        if let Ok(below) = watched.strip_prefix(folder) {
            look.at(below, levels)?;
        }
    }
    for closed in closed.iter().filter_map(|closed| closed.strip_prefix(folder).ok()) {
        look.hide(closed.to_owned());
    }
    Ok(look)
}

/// What is mounted inside the folders, and what is closed to others there and hides a mount.
fn mounted_inside(folders: &[PathBuf]) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let (mut inside, mut closed) = (Vec::new(), Vec::new());
    for place in table.lines().filter_map(|line| Some(PathBuf::from(unescape(line.split(' ').nth(4)?)))) {
        let within = |folder: &&PathBuf| &place != *folder && place.starts_with(folder);
        if let Some(folder) = folders.iter().find(within)
            && place.is_dir()
        {
            match closed_above(folder, &place) {
                Some(above) => closed.push(above),
                None => inside.push(place),
            }
        }
    }
    inside.sort();
    inside.dedup();
    Ok((inside, closed))
}

/// The topmost folder between `folder` and `place`, or `place` itself, that is closed to others.
fn closed_above(folder: &Path, place: &Path) -> Option<PathBuf> {
    let between = place.ancestors().take_while(|above| *above != folder);
    let is_closed = |above: &&Path| !fs::metadata(above).is_ok_and(|metadata| mask::is_open(&metadata));
    between.filter(is_closed).last().map(Path::to_owned)
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
        match tools::layer(mask, &tool).doing("hide the secrets of", tool.display())? {
            Some(layer) => {
                let layer = on_host(&layer).doing("open", layer.display())?;
                attach(&tool, &[&layer, &folder])?;
            }
            None => attach(&tool, &[&folder])?,
        }
    }
    Ok(())
}

/// Whether a folder is the system's: its tools need not be added.
fn is_system(folder: &Path) -> bool {
    SYSTEM.iter().any(|system| folder.starts_with(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("compose-host-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_mount_below_what_is_closed_is_not_shown() {
        let folder = folder("mount");
        fs::create_dir_all(folder.join("open/inner")).unwrap();
        fs::create_dir_all(folder.join("closed/inner")).unwrap();
        fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(folder.join("closed/inner"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(closed_above(&folder, &folder.join("open/inner")), None);
        assert_eq!(closed_above(&folder, &folder.join("closed/inner")), Some(folder.join("closed")));
        assert_eq!(
            closed_above(&folder.join("closed"), &folder.join("closed/inner")),
            Some(folder.join("closed/inner"))
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_mask_is_kept_while_it_hides_the_same() {
        let folder = folder("masks");
        let masks = folder.join("mask");
        let first = current_mask(&masks).unwrap();
        assert_eq!(first, folder.join("mask.1"));
        assert_eq!(current_mask(&masks).unwrap(), first);
        // As if something had been changed that hides nothing else.
        fs::write(seen_file(&first), "0 /etc\0").unwrap();
        assert!(!is_current(&first));
        assert_eq!(current_mask(&masks).unwrap(), first);
        assert!(!folder.join("mask.2").exists());
        fs::write(seen_file(&first), "0 /etc\0").unwrap();
        fs::write(hidden_file(&first), "/etc/old\0").unwrap();
        assert_eq!(current_mask(&masks).unwrap(), folder.join("mask.2"));
        assert!(first.is_dir());
        fs::remove_dir_all(folder).unwrap();
    }
}
