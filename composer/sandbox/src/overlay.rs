//! overlayfs over any number of layers (Documentation/filesystems/overlayfs.rst).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, umount2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::descriptor;
use crate::mount;
use crate::tree::on_host;

/// The longest value that fsconfig(2) takes, its closing zero included.
const LONGEST_VALUE: usize = 256;
/// The longest options that mount(2) takes: a page.
const LONGEST_OPTIONS: usize = 4096;

/// An overlay of folders, the first on top, copy-on-write in the folder at `place`; not attached anywhere yet.
///
/// No device node works but those of /dev, unless they are `open_nodes`: what may open which device is limited otherwise then.
pub fn mount(layers: &[&OwnedFd], place: &Path, work: &OwnedFd, open_nodes: bool) -> io::Result<OwnedFd> {
    let upper = on_host(place)?;
    let (upper, work) = (descriptor::path(&upper), descriptor::path(work));
    let written = [("upperdir", Some(upper.as_str())), ("workdir", Some(&work)), ("volatile", None)];
    over(layers, place, &written, open_nodes)
}

/// The same where nothing is written; `place` is any folder of the host's, and there are two layers at least.
pub fn read_only(layers: &[&OwnedFd], place: &Path) -> io::Result<OwnedFd> {
    over(layers, place, &[], false)
}

/// An option, and its value where it has one.
type Choice<'a> = (&'a str, Option<&'a str>);

fn over(layers: &[&OwnedFd], place: &Path, written: &[Choice<'_>], open_nodes: bool) -> io::Result<OwnedFd> {
    let layers: Vec<String> = layers.iter().map(descriptor::path).collect();
    let lower = layers.join(":");
    if lower.len() < LONGEST_VALUE {
        return with(&[("lowerdir", lower.as_str())], written, open_nodes);
    }
    let each: Vec<_> = layers.iter().map(|layer| ("lowerdir+", layer.as_str())).collect();
    match with(&each, written, open_nodes) {
        // Before Linux 6.5.
        Err(error) if is_unknown(&error) => by_path(&lower, place, written, open_nodes),
        mounted => mounted,
    }
}

fn with(lower: &[(&str, &str)], written: &[Choice<'_>], open_nodes: bool) -> io::Result<OwnedFd> {
    let lower = lower.iter().map(|(key, value)| (*key, Some(*value)));
    let options: Vec<_> = lower.chain(written.iter().copied()).collect();
    let attributes = if open_nodes { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NODEV };
    mount::filesystem("overlay", &options, attributes)
}

fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) || error.kind() == io::ErrorKind::InvalidInput
}

/// By mount(2), whose options are a page long. It wants a place, and lies there for a moment.
fn by_path(lower: &str, place: &Path, written: &[Choice<'_>], open_nodes: bool) -> io::Result<OwnedFd> {
    let mut options = format!("lowerdir={lower}");
    for (key, value) in written {
        options.push(',');
        options.push_str(key);
        value.iter().for_each(|value| options.extend(["=", value]));
    }
    if options.len() >= LONGEST_OPTIONS {
        return Err(io::Error::other(
            "it has more layers than this kernel can mount; Linux 6.5 can mount 500",
        ));
    }
    let flags = if open_nodes { MsFlags::empty() } else { MsFlags::MS_NODEV };
    nix::mount::mount(Some("overlay"), place, Some("overlay"), flags, Some(options.as_str()))?;
    let copy = on_host(place).and_then(|root| mount::copy(&root, "", false));
    umount2(place, MntFlags::MNT_DETACH)?;
    copy
}
