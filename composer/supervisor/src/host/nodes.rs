//! Device nodes of the host.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use composer_sandbox::DeviceSpec;
use composer_stack::one_line;

/// What containers have of their own in /dev.
const OWN: [&str; 7] = ["console", "fd", "mqueue", "ptmx", "pts", "shm", "core"];

/// All of them.
///
/// # Errors
/// Those of reading /dev.
pub fn all() -> io::Result<Vec<DeviceSpec>> {
    let mut nodes = Vec::new();
    let dev = Path::new("/dev");
    below(dev, dev, &mut nodes)?;
    Ok(nodes)
}

/// Looks at a path that a service names.
///
/// # Errors
/// Why there is no device.
pub fn look(path: &str) -> Result<(), String> {
    of(Path::new(path), Path::new(path)).map(drop).map_err(|why| one_line(&why))
}

/// The device at a path of the host, or those in a folder, as they are to be at `target`.
///
/// # Errors
/// Why there is none.
pub fn of(source: &Path, target: &Path) -> Result<Vec<DeviceSpec>, String> {
    let metadata = fs::metadata(source).map_err(|error| error.to_string())?;
    if let Some(node) = node(&metadata, target.to_owned()) {
        return Ok(vec![node]);
    }
    if !metadata.is_dir() {
        return Err("it is no device".to_owned());
    }
    let mut nodes = Vec::new();
    below(source, target, &mut nodes).map_err(|error| error.to_string())?;
    if nodes.is_empty() { Err("there is no device in this folder".to_owned()) } else { Ok(nodes) }
}

/// The devices in a folder and those below it, as they are to be below `target`.
fn below(folder: &Path, target: &Path, nodes: &mut Vec<DeviceSpec>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        // A device that has been taken away meanwhile is none.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            below(&entry.path(), &target.join(&name), nodes)?;
        } else {
            nodes.extend(node(&metadata, target.join(&name)));
        }
    }
    Ok(())
}

fn node(metadata: &fs::Metadata, target: PathBuf) -> Option<DeviceSpec> {
    let kind = metadata.file_type();
    let (mode, device) = (metadata.mode(), metadata.rdev());
    let owner = (metadata.uid(), metadata.gid());
    (kind.is_char_device() || kind.is_block_device()).then_some(DeviceSpec { target, mode, device, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_folders_of_devices() {
        let found = |source: &str| of(Path::new(source), Path::new("/dev/x"));
        let null = found("/dev/null").unwrap();
        assert_eq!(null.len(), 1);
        assert_eq!(null[0].target, Path::new("/dev/x"));
        assert!(found("/etc/passwd").unwrap_err().contains("no device"));
        assert!(found("/no/such").unwrap_err().contains("No such file"));
        assert!(found("/etc/ssl").unwrap_err().contains("no device in this folder"));
        let all = all().unwrap();
        assert!(all.iter().any(|node| node.target == Path::new("/dev/null")));
        assert!(all.iter().all(|node| !node.target.starts_with("/dev/pts")));
    }
}
