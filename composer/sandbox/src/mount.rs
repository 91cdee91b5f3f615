//! Mounts by descriptor (fsopen(2), open_tree(2), move_mount(2), mount_setattr(2)): no path is parsed twice, and no
//! character of a folder's name can end an option.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::mount::MsFlags;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// No programs, no devices, no set-user-ID.
pub const INERT: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// How often the kernel is asked for a filesystem that it does not know.
const MODULE_TRIES: u32 = 10;

fn open_context(kind: &str) -> rustix::io::Result<OwnedFd> {
    let mut tries = 1;
    loop {
        match fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC) {
            // The first containers of a host: where the kernel loads the module for another one in this moment, modprobe(8)
            // finds it there and returns before it is ready. Each try runs modprobe anew.
            Err(Errno::NODEV) if tries < MODULE_TRIES => tries += 1,
            opened => return opened,
        }
    }
}

/// A new filesystem, not attached anywhere yet. An option without a value is a flag.
pub fn filesystem(
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = open_context(kind)?;
    // Shown by mount(8) and df(1).
    let configured = fsconfig_set_string(context.as_fd(), "source", kind)
        .and_then(|()| {
            options.iter().try_for_each(|(key, value)| match value {
                Some(value) => fsconfig_set_string(context.as_fd(), *key, *value),
                None => fsconfig_set_flag(context.as_fd(), *key),
            })
        })
        .and_then(|()| fsconfig_create(context.as_fd()));
    configured.map_err(|errno| explained(&context, errno.into()))?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The error with what the filesystem itself has to say of it.
fn explained(context: &OwnedFd, error: io::Error) -> io::Error {
    let mut words = Vec::new();
    let mut line = [0; 512];
    while let Ok(length) = nix::unistd::read(context, &mut line) {
        // Each line begins with its kind: `e ` for an error, `w ` for a warning.
        let text = String::from_utf8_lossy(&line[..length]);
        words.push(text.get(2..).unwrap_or_default().trim().to_owned());
        if length == 0 {
            break;
        }
    }
    words.retain(|word| !word.is_empty());
    if words.is_empty() {
        error
    } else {
        io::Error::new(error.kind(), format!("{error}: {}", words.join("; ")))
    }
}

/// A copy of what is seen at a path, not attached anywhere yet.
pub fn copy(from: impl AsFd, path: impl rustix::path::Arg, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(from, path, flags)?)
}

/// Attaches a mount on top of what a descriptor stands for.
pub fn attach(mount: impl AsFd, at: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", at, "", flags)?)
}

/// Sets attributes of a mount, with `recursive` of all below it too.
pub fn restrict(mount: impl AsFd, attributes: MountAttrFlags, recursive: bool) -> io::Result<()> {
    let attr_set = attributes.bits().into();
    set(mount, &libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd: 0 }, recursive)
}

/// Maps the owners of files as a user namespace does. The mount must not be attached anywhere yet.
pub fn map_ids(mount: impl AsFd, userns: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let userns_fd = userns.as_raw_fd().cast_unsigned().into();
    let request =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd };
    set(mount, &request, recursive)
}

/// Sets how a mount and all below it pass on what is mounted there (`MS_PRIVATE`, `MS_SLAVE` or `MS_SHARED`).
pub fn propagate(mount: impl AsFd, propagation: MsFlags) -> io::Result<()> {
    set(
        mount,
        &libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: propagation.bits(), userns_fd: 0 },
        true,
    )
}

fn set(mount: impl AsFd, request: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and `request` has the size that is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(request),
            size_of::<libc::mount_attr>(),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
