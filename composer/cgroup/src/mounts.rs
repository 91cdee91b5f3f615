//! Where the cgroup file systems are mounted, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount of a cgroup file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
    /// Whether the mount shows its hierarchy from the top (of the cgroup namespace) on.
    pub(crate) is_whole: bool,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A v1 hierarchy with its super block's options, the names of the controllers among them.
    V1(Vec<String>),
    V2,
}

/// The cgroup mounts in a mountinfo text, in its order.
pub(crate) fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// The names of each v1 hierarchy in a `/proc/PID/cgroup` text (cgroups(7)), as its mount options have them: its
/// controllers, or `name=systemd` and the like.
pub(crate) fn hierarchies(memberships: &str) -> Vec<Vec<&str>> {
    // 4:cpu,cpuacct:/path; v2 has no names.
    let names = memberships.lines().filter_map(|line| line.split(':').nth(1));
    names.filter(|names| !names.is_empty()).map(|names| names.split(',').collect()).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    // 36 35 98:0 /root /point opts [optional...] - type source super-opts
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    fields.find(|field| *field == b"-")?;
    let kind = match fields.next()? {
        b"cgroup2" => Kind::V2,
        b"cgroup" => {
            let options = String::from_utf8_lossy(fields.nth(1)?).into_owned();
            Kind::V1(options.split(',').map(str::to_owned).collect())
        }
        _ => return None,
    };
    Some(Mount { point: PathBuf::from(unescape(point)), is_whole: root == b"/", kind })
}

/// Undoes the octal escapes (`\040`) that the kernel writes for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|digits| digits.iter().all(|d| (b'0'..b'8').contains(d)));
        match octal {
            Some(digits) if first == b'\\' => {
                bytes.push(digits.iter().fold(0u8, |value, d| value.wrapping_mul(8) + (d - b'0')));
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_of_hierarchies() {
        let text = "9:name=systemd:/user:1\n2:cpu,cpuacct:/\n0::/\n";
        assert_eq!(hierarchies(text), [vec!["name=systemd"], vec!["cpu", "cpuacct"]]);
    }

    #[test]
    fn reads_v1_v2_and_escapes_and_skips_the_rest() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            41 31 0:38 /a /mnt/with\\040space rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
        let options = ["rw", "cpu", "cpuacct"].map(str::to_owned).to_vec();
        assert_eq!(
            parse(text),
            [
                Mount { point: "/sys/fs/cgroup/cpu,cpuacct".into(), is_whole: true, kind: Kind::V1(options) },
                Mount { point: "/mnt/with space".into(), is_whole: false, kind: Kind::V2 },
            ]
        );
    }
}
