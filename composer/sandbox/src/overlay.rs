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
    let layers: Vec<String> = layers.iter().map(descriptor::path).collect();
    let (upper, work) = (descriptor::path(&upper), descriptor::path(work));
    let lower = layers.join(":");
    if lower.len() < LONGEST_VALUE {
        return with(&[("lowerdir", lower.as_str())], &upper, &work, open_nodes);
    }
    let each: Vec<_> = layers.iter().map(|layer| ("lowerdir+", layer.as_str())).collect();
    match with(&each, &upper, &work, open_nodes) {
        // Before Linux 6.5.
        Err(error) if is_unknown(&error) => by_path(&lower, (place, &upper), &work, open_nodes),
        mounted => mounted,
    }
}

fn with(lower: &[(&str, &str)], upper: &str, work: &str, open_nodes: bool) -> io::Result<OwnedFd> {
    let lower = lower.iter().map(|(key, value)| (*key, Some(*value)));
    let options = lower.chain([("upperdir", Some(upper)), ("workdir", Some(work)), ("volatile", None)]);
    let attributes = if open_nodes { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NODEV };
    mount::filesystem("overlay", &options.collect::<Vec<_>>(), attributes)
}

fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) || error.kind() == io::ErrorKind::InvalidInput
}

/// By mount(2), whose options are a page long. It wants a place, and lies there for a moment.
fn by_path(lower: &str, (place, upper): (&Path, &str), work: &str, open_nodes: bool) -> io::Result<OwnedFd> {
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work},volatile");
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
