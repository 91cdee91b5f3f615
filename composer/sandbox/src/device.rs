//! What a volume of the driver `local` mounts in its own place: `type`, `o` and `device` are those of mount(8).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

/// Words of `o` that are flags of mount(2), and whether they set theirs.
const FLAGS: [(&str, bool, MsFlags); 25] = [
    ("async", false, MsFlags::MS_SYNCHRONOUS),
    ("atime", false, MsFlags::MS_NOATIME),
    ("bind", true, MsFlags::MS_BIND),
    ("defaults", true, MsFlags::empty()),
    ("dev", false, MsFlags::MS_NODEV),
    ("diratime", false, MsFlags::MS_NODIRATIME),
    ("dirsync", true, MsFlags::MS_DIRSYNC),
    ("exec", false, MsFlags::MS_NOEXEC),
    ("mand", true, MsFlags::MS_MANDLOCK),
    ("noatime", true, MsFlags::MS_NOATIME),
    ("nodev", true, MsFlags::MS_NODEV),
    ("nodiratime", true, MsFlags::MS_NODIRATIME),
    ("noexec", true, MsFlags::MS_NOEXEC),
    ("nomand", false, MsFlags::MS_MANDLOCK),
    ("norelatime", false, MsFlags::MS_RELATIME),
    ("nostrictatime", false, MsFlags::MS_STRICTATIME),
    ("nosuid", true, MsFlags::MS_NOSUID),
    ("rbind", true, MsFlags::MS_BIND.union(MsFlags::MS_REC)),
    ("relatime", true, MsFlags::MS_RELATIME),
    ("remount", true, MsFlags::MS_REMOUNT),
    ("ro", true, MsFlags::MS_RDONLY),
    ("rw", false, MsFlags::MS_RDONLY),
    ("strictatime", true, MsFlags::MS_STRICTATIME),
    ("suid", false, MsFlags::MS_NOSUID),
    ("sync", true, MsFlags::MS_SYNCHRONOUS),
];

/// What is mounted in a volume's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    kind: String,
    device: String,
    flags: MsFlags,
    /// What the filesystem itself understands.
    data: Vec<String>,
}

impl Device {
    /// By the options of the driver; `None` where they ask for nothing: then a volume is a folder.
    pub fn new(options: &BTreeMap<String, String>) -> Option<Self> {
        let option = |key: &str| options.get(key).filter(|text| !text.is_empty());
        let (kind, device) = (option("type")?.clone(), option("device")?.clone());
        let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
        for word in option("o").into_iter().flat_map(|words| words.split(',')).filter(|word| !word.is_empty())
        {
            match FLAGS.iter().find(|(name, ..)| *name == word) {
                Some((_, true, flag)) => flags |= *flag,
                Some((_, false, flag)) => flags &= !*flag,
                None => data.push(word.to_owned()),
            }
        }
        Some(Self { kind, device, flags, data })
    }

    /// Mounts it at a folder of the host. This may take as long as a server does to answer.
    ///
    /// # Errors
    /// What is asked to be mounted, and the system's reason.
    pub fn mount(&self, at: &Path) -> io::Result<()> {
        let Self { kind, device, flags, .. } = self;
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("mount {device} (type {kind}): {error}"));
        let data = self.data().map_err(failed)?;
        let data = (!data.is_empty()).then_some(data.as_str());
        let mounted = mount(Some(device.as_str()), at, Some(kind.as_str()), *flags, data);
        mounted.map_err(|errno| failed(errno.into()))?;
        let own = flags.difference(MsFlags::MS_BIND | MsFlags::MS_REC);
        if flags.contains(MsFlags::MS_BIND) && !own.is_empty() {
            // A bind takes its flags from where it comes from, unless it is told so afterwards (mount(2)).
            let flags = own | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
            if let Err(errno) = mount(None::<&str>, at, None::<&str>, flags, None::<&str>) {
                let _ = umount2(at, MntFlags::MNT_DETACH);
                return Err(failed(errno.into()));
            }
        }
        Ok(())
    }

    /// With addresses in place of names: the kernel asks no DNS for `addr=`.
    fn data(&self) -> io::Result<String> {
        let resolved = self.data.iter().map(|word| match word.split_once('=') {
            Some(("addr", name)) if is_remote(&self.kind) && name.parse::<IpAddr>().is_err() => {
                let mut found = (name, 0).to_socket_addrs()?;
                let found = found.next().ok_or_else(|| io::Error::other(format!("{name} has no address")))?;
                Ok(format!("addr={}", found.ip()))
            }
            _ => Ok(word.clone()),
        });
        Ok(resolved.collect::<io::Result<Vec<_>>>()?.join(","))
    }

    /// Unmounts what is mounted there; whoever still has something open keeps it.
    ///
    /// # Errors
    /// Those of umount2(2).
    pub fn unmount(at: &Path) -> io::Result<()> {
        Ok(umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?)
    }
}

fn is_remote(kind: &str) -> bool {
    ["nfs", "nfs4", "cifs"].contains(&kind)
}

/// Whether something is mounted at a folder.
///
/// # Errors
/// Those of statx(2).
pub fn is_mount(at: &Path) -> io::Result<bool> {
    let found = statx(CWD, at, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether the mount that a path lies on passes on what is mounted below it (proc_pid_mountinfo(5)).
///
/// # Errors
/// When the path is not there, or /proc is not.
pub fn is_shared(path: &Path) -> io::Result<bool> {
    let found = statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)?;
    let id = found.stx_mnt_id.to_string();
    let table = fs::read("/proc/self/mountinfo")?;
    let lines = table.split(|byte| *byte == b'\n');
    let mut words = lines.map(|line| line.split(|byte| *byte == b' ').collect::<Vec<_>>());
    let line = words.find(|words| words.first().is_some_and(|first| *first == id.as_bytes()));
    let line = line.ok_or_else(|| io::Error::other("its mount is not in /proc/self/mountinfo"))?;
    // Optional fields stand between the sixth and a hyphen.
    let optional = line.iter().skip(6).take_while(|word| **word != b"-");
    Ok(optional.into_iter().any(|word| word.starts_with(b"shared:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(options: &[(&str, &str)]) -> Option<Device> {
        Device::new(&options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn words_are_flags_or_the_filesystems_own() {
        let found = device(&[
            ("type", "nfs"),
            ("device", ":/srv"),
            ("o", "addr=127.0.0.1,ro,nolock,noatime,rw,soft"),
        ]);
        let found = found.unwrap();
        assert_eq!(found.flags, MsFlags::MS_NOATIME);
        assert_eq!(found.data().unwrap(), "addr=127.0.0.1,nolock,soft");
        let bind = device(&[("type", "none"), ("device", "/srv"), ("o", "rbind,ro")]).unwrap();
        assert_eq!(bind.flags, MsFlags::MS_BIND | MsFlags::MS_REC | MsFlags::MS_RDONLY);
        assert_eq!((device(&[]), device(&[("type", "none")])), (None, None));
        let named = device(&[("type", "nfs"), ("device", ":/srv"), ("o", "addr=localhost")]).unwrap();
        assert!(["addr=127.0.0.1", "addr=::1"].contains(&named.data().unwrap().as_str()));
    }
}
