//! Who else is on this host: engines, firewalls, and what watches over programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use composer_network::firewall::{Dropping, dropping};
use composer_network::names;

use super::{Finding, read};

const ENGINES: &str = "Other engines";
const FIREWALLS: &str = "Firewalls";
const NETWORK: &str = "Network";
const SECURITY: &str = "Security modules";

/// An engine, the names of its processes, and its sockets.
const KNOWN: [(&str, &[&str], &[&str]); 5] = [
    ("Docker", &["dockerd"], &["/run/docker.sock"]),
    ("containerd", &["containerd"], &["/run/containerd/containerd.sock"]),
    ("Podman", &["podman"], &["/run/podman/podman.sock"]),
    ("CRI-O", &["crio"], &["/run/crio/crio.sock"]),
    ("kubelet", &["kubelet"], &[]),
];

pub(super) fn look() -> Vec<Finding> {
    let running = running();
    let mut findings = Vec::new();
    for (name, processes, sockets) in KNOWN {
        let runs = processes.iter().any(|process| running.contains(*process));
        let socket = sockets.iter().find(|socket| Path::new(socket).exists());
        match (runs, socket) {
            (true, _) => findings.push(Finding::ok(
                ENGINES,
                name,
                "runs; its rules, networks and groups are left alone",
            )),
            (false, Some(socket)) => {
                findings.push(Finding::ok(ENGINES, name, format!("does not run, though {socket} is there")));
            }
            (false, None) => {}
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(ENGINES, "engines", "none runs"));
    }
    findings.extend(firewalls(&running));
    findings.extend(sysctls());
    findings.push(modules());
    findings
}

fn firewalls(running: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if running.contains("firewalld") {
        let found =
            "runs; published ports pass its zones by rules of their own, which are put back after a reload";
        findings.push(Finding::ok(FIREWALLS, "firewalld", found));
    }
    if read("/etc/ufw/ufw.conf").is_some_and(|text| text.contains("ENABLED=yes")) {
        let found = "is on; what it forwards is let through by rules of the stack's own";
        findings.push(Finding::ok(FIREWALLS, "ufw", found));
    }
    let legacy = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];
    let tables: BTreeSet<String> = legacy
        .iter()
        .filter_map(|path| read(path))
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    if !tables.is_empty() {
        let tables: Vec<String> = tables.into_iter().collect();
        findings.push(Finding::warning(
            FIREWALLS,
            "legacy iptables",
            format!("has tables: {}", tables.join(", ")),
            "where they may drop forwarded packets, `iptables-legacy` and `ip6tables-legacy` let the stacks' bridges pass: \
             install them where they are missing; what somebody flushes there is put back by the next `up`",
        ));
    }
    let bridge = names::bridge("doctor", "default");
    for Dropping { chain, command } in dropping(&bridge, [true, true]) {
        let found = format!("{chain} drops what the host sends, unless one of its rules knows better");
        let help = format!("`{command}` has the host itself reach published ports at ::1");
        findings.push(Finding::warning(FIREWALLS, "outgoing", found, help));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(FIREWALLS, "firewalls", "none that is known"));
    }
    findings
}

fn sysctls() -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_on = |path: &str| read(path).is_some_and(|value| value != "0");
    findings.push(if is_on("/proc/sys/net/ipv4/ip_forward") {
        Finding::ok(NETWORK, "ip_forward", "on")
    } else {
        Finding::ok(
            NETWORK,
            "ip_forward",
            "off; `up` turns it on where a stack needs it, and the last `down` off again",
        )
    });
    let filtered = is_on("/proc/sys/net/bridge/bridge-nf-call-iptables");
    findings.push(match Path::new("/proc/sys/net/bridge").is_dir() {
        true if filtered => {
            Finding::ok(NETWORK, "br_netfilter", "on: a rule lets what stays in a bridge pass")
        }
        true => Finding::ok(NETWORK, "br_netfilter", "loaded, and off"),
        false => Finding::ok(NETWORK, "br_netfilter", "not loaded, and not needed"),
    });
    findings
}

fn modules() -> Finding {
    let active = read("/sys/kernel/security/lsm").unwrap_or_default();
    let enforcing = read("/sys/fs/selinux/enforce").is_some_and(|value| value == "1");
    if enforcing {
        return Finding::warning(
            SECURITY,
            "SELinux",
            "enforces",
            "labels of volumes (`:z`) are not set: what a policy refuses is in the audit log",
        );
    }
    let apparmor = read("/sys/module/apparmor/parameters/enabled").is_some_and(|value| value == "Y");
    match (apparmor, active.is_empty()) {
        (true, _) => Finding::ok(
            SECURITY,
            "AppArmor",
            "on; containers run unconfined by it, within seccomp and capabilities",
        ),
        (false, false) => Finding::ok(SECURITY, "modules", active.replace(',', ", ")),
        (false, true) => Finding::ok(SECURITY, "modules", "none that restricts containers"),
    }
}

/// The names of all processes.
fn running() -> BTreeSet<String> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let comms =
        folders.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    comms
        .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}
