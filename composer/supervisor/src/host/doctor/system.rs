//! The kernel, the caller, and where things are kept.

use std::path::{Path, PathBuf};

use composer_stack::show_bytes;
use nix::sys::utsname::uname;

use super::{Finding, read};
use crate::host::cdi::Catalogue;

const TOPIC: &str = "System";
/// `cgroup.kill` and mount_setattr(2) among what it has.
const LEAST: (u32, u32) = (5, 14);
/// Where images, volumes and logs are.
const STATE: &str = "/var/lib/compose";
/// Less room than this is told of: an image may take as much.
const ROOM: u64 = 2 << 30;

pub(super) fn look(is_root: bool) -> Vec<Finding> {
    let mut findings = vec![kernel()];
    findings.push(if is_root {
        Finding::ok(TOPIC, "root", "this is root")
    } else {
        Finding::missing(
            TOPIC,
            "root",
            "this is not root",
            "namespaces, cgroups and links are made by root: run compose with sudo, this command too to see the rest",
        )
    });
    findings.push(seccomp());
    findings.push(pressure());
    findings.push(room());
    findings.extend(devices());
    findings
}

fn kernel() -> Finding {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version < LEAST {
        let advice = format!("the least is Linux {}.{}: take a newer kernel", LEAST.0, LEAST.1);
        return Finding::missing(TOPIC, "kernel", format!("Linux {release}"), advice);
    }
    Finding::ok(TOPIC, "kernel", format!("Linux {release} on {}", std::env::consts::ARCH))
}

fn seccomp() -> Finding {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.contains("errno") => {
            Finding::ok(TOPIC, "seccomp", "filters of system calls")
        }
        Some(_) | None => Finding::missing(
            TOPIC,
            "seccomp",
            "the kernel has no filters of system calls",
            "build it with CONFIG_SECCOMP_FILTER, or give services `security_opt: [seccomp=unconfined]`",
        ),
    }
}

fn pressure() -> Finding {
    match read("/proc/pressure/memory") {
        Some(_) => Finding::ok(TOPIC, "pressure (PSI)", "told by the kernel"),
        None => Finding::warning(
            TOPIC,
            "pressure (PSI)",
            "the kernel does not tell how long tasks wait",
            "boot with `psi=1`; without it `stats` shows no pressure",
        ),
    }
}

/// Those that vendors describe.
fn devices() -> Vec<Finding> {
    let (name, catalogue) = ("described devices", Catalogue::of_host());
    let kinds: Vec<String> = catalogue.kinds().map(|(kind, count)| format!("{count} of {kind}")).collect();
    let found = if kinds.is_empty() { "none (CDI)".to_owned() } else { kinds.join(", ") };
    let unread = catalogue.unread().iter().map(|why| {
        let advice = "have its vendor's tool write it anew; services that ask for what is in it do not start";
        Finding::warning(TOPIC, "description of devices", why.clone(), advice)
    });
    std::iter::once(Finding::ok(TOPIC, name, found)).chain(unread).collect()
}

fn room() -> Finding {
    let folder = nearest(Path::new(STATE));
    let name = "room on the disk";
    match nix::sys::statvfs::statvfs(&folder) {
        Ok(stat) => {
            #[expect(clippy::useless_conversion, reason = "the types differ by architecture")]
            let free = u64::from(stat.blocks_available()) * u64::from(stat.fragment_size());
            let found = format!("{} free for {STATE}", show_bytes(free));
            if free >= ROOM {
                return Finding::ok(TOPIC, name, found);
            }
            Finding::warning(
                TOPIC,
                name,
                found,
                "free some: `compose image prune -a` removes images that nothing uses",
            )
        }
        Err(errno) => Finding::warning(
            TOPIC,
            name,
            format!("{}: {errno}", folder.display()),
            "see what is mounted there",
        ),
    }
}

/// The folder, or that of its parents which is there.
pub(super) fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Where containers' files are to be.
pub(super) fn state() -> PathBuf {
    nearest(Path::new(STATE))
}
