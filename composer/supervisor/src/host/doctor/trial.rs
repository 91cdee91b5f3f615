//! What can only be known by doing it, in a process and namespaces of its own, which take everything with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::{Finding, Verdict, read, system};

/// What is tried in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Namespaces, one after the other.
    Namespaces,
    /// A user namespace: nobody who has one can do the rest.
    User,
    /// An overlay, on the disk where containers are.
    Overlay,
    /// Kinds of links, and rules of nf_tables.
    Network,
}

impl Trial {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Namespaces, Self::User, Self::Overlay, Self::Network];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::User => "user",
            Self::Overlay => "overlay",
            Self::Network => "network",
        }
    }
}

/// Tries it in this process, which has one thread and is good for nothing else afterwards. A line for each thing: its
/// name, and after a tab why it does not work where it does not.
pub fn attempt(trial: Trial) -> Vec<String> {
    let outcomes: Vec<(&str, Result<(), String>)> = match trial {
        Trial::Namespaces => NAMESPACES.iter().map(|(name, flag)| (*name, separate(*flag))).collect(),
        Trial::User => vec![("user", separate(CloneFlags::CLONE_NEWUSER))],
        Trial::Overlay => vec![("overlayfs", overlay().map_err(|error| error.to_string()))],
        Trial::Network => network(),
    };
    let line = |(name, outcome): (&str, Result<(), String>)| match outcome {
        Ok(()) => name.to_owned(),
        Err(why) => format!("{name}\t{}", why.replace(['\n', '\t'], " ")),
    };
    outcomes.into_iter().map(line).collect()
}

const NAMESPACES: [(&str, CloneFlags); 6] = [
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("mount", CloneFlags::CLONE_NEWNS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("uts", CloneFlags::CLONE_NEWUTS),
];

fn separate(flag: CloneFlags) -> Result<(), String> {
    unshare(flag).map_err(|errno| errno.desc().to_owned())
}

fn overlay() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let folder = trial_folder();
    fs::create_dir(&folder)?;
    let tried = mounted(&folder);
    // The mount goes with this namespace, and what it is on does not have to wait for that.
    let _ = nix::mount::umount2(&folder.join("merged"), nix::mount::MntFlags::MNT_DETACH);
    let removed = fs::remove_dir_all(&folder);
    tried.and(removed)
}

fn trial_folder() -> PathBuf {
    system::state().join(format!(".compose-doctor-{}", std::process::id()))
}

fn mounted(folder: &Path) -> io::Result<()> {
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(folder.join(name))?;
    }
    fs::write(folder.join("lower/file"), "lower")?;
    let at = |name: &str| folder.join(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={},volatile", at("lower"), at("upper"), at("work"));
    let merged = folder.join("merged");
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    fs::write(merged.join("file"), "upper")?;
    match fs::read_to_string(folder.join("lower/file"))?.as_str() {
        "lower" => Ok(()),
        _ => Err(io::Error::other("what was written went to the lower layer")),
    }
}

fn network() -> Vec<(&'static str, Result<(), String>)> {
    if let Err(why) = separate(CloneFlags::CLONE_NEWNET) {
        return vec![("links", Err(why))];
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let links = runtime.map(|runtime| {
        runtime.block_on(async {
            match composer_network::Host::open() {
                Ok(host) => host.try_kinds().await,
                Err(error) => vec![("links", Err(error.to_string()))],
            }
        })
    });
    let mut outcomes = links.unwrap_or_else(|error| vec![("links", Err(error.to_string()))]);
    let table = composer_network::firewall::attempt().map_err(|error| error.to_string());
    outcomes.push(("nf_tables", table));
    outcomes
}

pub(super) fn look(is_root: bool, try_out: &dyn Fn(Trial) -> io::Result<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for trial in Trial::ALL {
        let topic = topic(trial);
        if !is_root && trial != Trial::User {
            findings.push(Finding::warning(topic, trial.name(), "not tried", "root is needed to try it"));
            continue;
        }
        let answers = match try_out(trial) {
            Ok(text) if !text.trim().is_empty() => text,
            Ok(_) => format!("{}\tthe process that tried it has died", trial.name()),
            Err(error) => format!("{}\t{error}", trial.name()),
        };
        let mut good: Vec<&str> = Vec::new();
        for line in answers.lines() {
            match line.split_once('\t') {
                None => good.push(line),
                Some((name, why)) => findings.push(lacking(topic, name, why)),
            }
        }
        if !good.is_empty() {
            findings.push(Finding::ok(topic, "tried", good.join(", ")));
        }
    }
    findings
}

fn topic(trial: Trial) -> &'static str {
    match trial {
        Trial::Namespaces | Trial::User => "Namespaces",
        Trial::Overlay => "Files",
        Trial::Network => "Network",
    }
}

/// What does not work, and what that means.
fn lacking(topic: &'static str, name: &str, why: &str) -> Finding {
    let advice = match name {
        "user" => user_advice(),
        "overlayfs" => "load the module `overlay`; within a container, put /var/lib/compose on a volume: an overlay cannot \
                        be on an overlay"
            .to_owned(),
        "bridge" | "veth" => format!("load the module `{name}`: containers have no networks without it"),
        "ifb" => "load the module `ifb`: limits of bandwidth are not in force without it".to_owned(),
        "macvlan" | "ipvlan" => format!("load the module `{name}`: networks with `driver: {name}` need it"),
        "vlan" => "load the module `8021q`: networks whose `parent` is a VLAN of an interface need it".to_owned(),
        "nf_tables" => "load the module `nf_tables`: there are no published ports and no names without it".to_owned(),
        _ => "the kernel, or what this runs in, does not let containers be made: see its configuration".to_owned(),
    };
    let verdict = match name {
        "user" | "ifb" | "macvlan" | "ipvlan" | "vlan" => Verdict::Warning,
        _ => Verdict::Missing,
    };
    Finding { topic, name: name.to_owned(), verdict, found: why.to_owned(), advice: Some(advice) }
}

fn user_advice() -> String {
    if read("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return "`sysctl -w user.max_user_namespaces=10000`".to_owned();
    }
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return "AppArmor keeps them from users; root's containers do without".to_owned();
    }
    let errno = Errno::EPERM.desc();
    format!(
        "containers do without them; where the kernel says {errno}, a container or seccomp around this one forbids them"
    )
}
