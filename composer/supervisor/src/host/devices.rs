//! Volumes that mount something in their place (`driver_opts`). It is mounted once for all containers of the host, by the
//! first that uses it, and unmounted by the last, as memory has to be the same for all of them.
//!
//! Below /run is a folder for each such volume: `mount`, and `users` with a file for each container. Whoever changes it
//! has locked it; a reboot takes both away together.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use composer_sandbox::{Device, is_mount};
use nix::fcntl::{Flock, FlockArg};

use crate::paths;

/// Where a volume is mounted while it is.
pub fn place(name: &str) -> PathBuf {
    paths::mounted_volume(name).join("mount")
}

fn users(folder: &Path) -> PathBuf {
    folder.join("users")
}

/// A container as a user.
fn user(stack: &str, container: &str) -> String {
    paths::as_file(&format!("{stack}/{container}"))
}

/// Locks the folder of a volume; `None` where it was taken away while that was waited for.
fn locked(folder: &Path) -> io::Result<Option<Flock<File>>> {
    let opened = File::open(folder)?;
    let inode = opened.metadata()?.ino();
    let lock = Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))?;
    let is_there = fs::metadata(folder).is_ok_and(|found| found.ino() == inode);
    Ok(is_there.then_some(lock))
}

/// Mounts a volume for a container, where nobody has.
pub fn hold(name: &str, device: &Device, stack: &str, container: &str) -> io::Result<()> {
    let folder = paths::mounted_volume(name);
    let _lock = loop {
        paths::make(&folder)?;
        match locked(&folder) {
            Ok(Some(lock)) => break lock,
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    };
    let held = held(&folder, name, device, &user(stack, container));
    if held.is_err() {
        let _ = let_go(&folder, &user(stack, container));
    }
    held
}

fn held(folder: &Path, name: &str, device: &Device, user: &str) -> io::Result<()> {
    fs::create_dir_all(users(folder))?;
    let place = place(name);
    fs::create_dir_all(&place)?;
    // First of all: what is mounted for somebody is found by whoever takes that one away.
    fs::write(users(folder).join(user), "")?;
    if is_mount(&place)? { Ok(()) } else { device.mount(&place) }
}

/// Unmounts what nobody but this container uses.
pub fn release(stack: &str, container: &str) -> io::Result<()> {
    let user = user(stack, container);
    let mut result = Ok(());
    for folder in fs::read_dir(paths::mounted_volumes()).into_iter().flatten().flatten() {
        let folder = folder.path();
        if !users(&folder).join(&user).exists() {
            continue;
        }
        let released = match locked(&folder) {
            Ok(Some(_lock)) => let_go(&folder, &user),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        result = result.and(released);
    }
    let _ = fs::remove_dir(paths::mounted_volumes());
    result
}

/// Whether somebody uses a volume.
pub fn is_held(name: &str) -> bool {
    fs::read_dir(users(&paths::mounted_volume(name))).is_ok_and(|mut users| users.next().is_some())
}

fn let_go(folder: &Path, user: &str) -> io::Result<()> {
    let users = users(folder);
    match fs::remove_file(users.join(user)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if fs::read_dir(&users)?.next().is_some() {
        return Ok(());
    }
    let place = folder.join("mount");
    while place.exists() && is_mount(&place)? {
        Device::unmount(&place)?;
    }
    // Never what is in it.
    for empty in [place.as_path(), users.as_path(), folder] {
        match fs::remove_dir(empty) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
