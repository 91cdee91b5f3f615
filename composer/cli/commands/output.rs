//! A file that a command writes for its caller (`config -o`): whole or not at all, and the caller's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::{Result, doing};

/// As many symbolic links are followed as the kernel would.
const LINKS: usize = 40;

/// Writes a file. One that is there keeps its mode and owner, and its content until the new one is complete; what is
/// no regular file, such as a pipe, is written to. `owner` gets a file that is new, wherever they may write
/// themselves.
pub fn write(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> Result<()> {
    let failed = || format!("write {}", path.display());
    let target = follow(path).map_err(doing(failed()))?;
    let there = match fs::metadata(&target) {
        Ok(there) => Some(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(doing(failed())(error)),
    };
    let direct = match &there {
        Some(there) => !there.is_file(),
        None => false,
    };
    if direct {
        return fs::write(&target, bytes).map_err(doing(failed()));
    }
    match aside(&target, there.as_ref(), owner, bytes) {
        // A file that may be written in a folder that may not.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && there.is_some() => {
            fs::write(&target, bytes).map_err(doing(failed()))
        }
        done => done.map_err(doing(failed())),
    }
}

/// The file behind symbolic links, whether it is there or not.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(nix::errno::Errno::ELOOP as i32))
}

/// Writes beside the target and puts it in its place.
fn aside(
    target: &Path,
    there: Option<&fs::Metadata>,
    owner: Option<(u32, u32)>,
    bytes: &[u8],
) -> io::Result<()> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let (path, mut file) = create(folder, name)?;
    let written = (|| {
        match (there, owner) {
            (Some(there), _) => {
                // Some filesystems have no owners.
                let _ = fchown(&file, Some(there.uid()), Some(there.gid()));
                file.set_permissions(fs::Permissions::from_mode(there.mode() & 0o7777))?;
            }
            (None, Some(owner @ (user, group))) if is_theirs(folder, owner) => {
                let _ = fchown(&file, Some(user), Some(group));
            }
            (None, _) => {}
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&path, target)
    })();
    if written.is_err() {
        // The first error is the one to tell of.
        let _ = fs::remove_file(&path);
    }
    written
}

/// A new file in a folder, beside the one called `name`.
fn create(folder: &Path, name: &std::ffi::OsStr) -> io::Result<(PathBuf, File)> {
    let mut number = 0;
    loop {
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".{}-{number}", std::process::id()));
        let path = folder.join(aside);
        match OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Whether a user could have written into a folder without being root. A file in a folder of root's stays root's.
fn is_theirs(folder: &Path, (user, group): (u32, u32)) -> bool {
    fs::metadata(folder).is_ok_and(|folder| {
        let writes = |bit: u32| folder.mode() & bit != 0;
        folder.uid() == user || (folder.gid() == group && writes(0o020)) || writes(0o002)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_keeps_its_mode_and_its_link() {
        let folder = std::env::temp_dir().join(format!("composer-output-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("file"), folder.join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"one", None).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"one");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        write(&link, b"two", None).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        write(Path::new("/dev/null"), b"three", None).unwrap();
        assert!(write(&folder, b"four", None).is_err());
        assert!(write(&folder.join("none/file"), b"five", None).is_err());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("link", &link).unwrap();
        assert!(write(&link, b"six", None).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
