//! What a container is made of: namespaces, kernel files, devices, capabilities.

use std::fs;

use crate::stack::Project;

const ONE: &str = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    hostname: first
    domainname: example.org
  other: { x-rootfs: @busybox@, command: sleep 1000 }
"#;

fn pid(project: &Project, service: &str) -> i64 {
    project.field(service, "Pid").as_i64().unwrap()
}

#[test]
fn every_namespace_is_its_own() {
    let project = Project::new("namespaces", ONE);
    project.ok(&["up", "-d"]);
    let (one, other) = (pid(&project, "one"), pid(&project, "other"));
    for kind in ["pid", "net", "mnt", "uts", "ipc", "cgroup"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let (host, one, other) = (of("self"), of(&one.to_string()), of(&other.to_string()));
        assert!(host != one && host != other && one != other, "{kind}: {host:?} {one:?} {other:?}");
    }
    assert_eq!(project.ok(&["exec", "-T", "one", "hostname"]), "first\n");
    let hosts = project.ok(&["exec", "-T", "one", "cat", "/etc/hosts", "/etc/hostname"]);
    assert!(hosts.contains("\tfirst.example.org first\n") && hosts.ends_with("\nfirst\n"), "{hosts}");
    // A program of `exec` is in all of them too.
    let script =
        "for n in pid net mnt uts ipc cgroup; do readlink /proc/1/ns/$n; readlink /proc/self/ns/$n; done";
    let links = project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    let links: Vec<&str> = links.lines().collect();
    assert_eq!(links.len(), 12);
    assert!(links.chunks(2).all(|pair| pair[0] == pair[1]), "{links:?}");
    project.down();
}

#[test]
fn descriptors_do_not_leak() {
    let project = Project::new("descriptors", ONE);
    project.ok(&["up", "-d"]);
    let fds = |path: String| {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(fds(format!("/proc/{}/fd", pid(&project, "one"))), ["0", "1", "2"]);
    // The third is the folder that ls itself reads.
    assert_eq!(project.ok(&["exec", "-T", "one", "ls", "/proc/self/fd"]), "0\n1\n2\n3\n");
    project.down();
}

#[test]
fn devices_work_and_no_further_ones_can_be_made() {
    let project = Project::new("devices", ONE);
    project.ok(&["up", "-d"]);
    let sh = |script: &str| project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    let names = sh("ls /dev");
    for name in
        ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "fd", "stdout"]
    {
        assert!(names.lines().any(|line| line == name), "{name} is missing: {names}");
    }
    assert_eq!(
        sh("echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c"),
        "3\n5\n"
    );
    sh("echo x > /dev/shm/file; test -c /dev/ptmx");
    // A node of the host's first disk or of its memory is made, and does not open.
    let made = sh("mknod /dev/mem2 c 1 1; mknod /mem2 c 1 1; cat /dev/mem2 /mem2 2>&1 | grep -c denied");
    assert_eq!(made, "2\n");
    project.down();
}

#[test]
fn the_kernels_files_are_masked_and_read_only() {
    let project = Project::new("masked", ONE);
    project.ok(&["up", "-d"]);
    let sh = |script: &str| project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    assert_eq!(sh("head -c 10 /proc/kcore | wc -c; cat /proc/keys /proc/timer_list | wc -c"), "0\n0\n");
    assert_eq!(sh("ls /sys/firmware | wc -l"), "0\n");
    for file in ["/proc/sys/kernel/hostname", "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper"] {
        let refused = sh(&format!("test -e {file} || echo absent; (echo 1 > {file}) 2>&1 || true"));
        assert!(refused.contains("absent") || refused.contains("Read-only"), "{file}: {refused}");
    }
    assert!(sh("mkdir /sys/fs/new 2>&1 || true").contains("Read-only"));
    // Its processes alone, numbered from 1.
    assert_eq!(
        sh("cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l | xargs test 10 -gt && echo few"),
        "sleep\nfew\n"
    );
    assert_eq!(sh("cat /proc/1/cgroup | cut -d: -f3 | sort -u"), "/\n");
    assert_eq!(sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "0\n");
    project.down();
}

#[test]
fn capabilities_are_dockers() {
    let project = Project::new("capabilities", ONE);
    project.ok(&["up", "-d"]);
    let status = |args: &[&str]| {
        let mut all = vec!["exec", "-T"];
        all.extend(args);
        all.extend(["one", "grep", "-E", "^Cap", "/proc/self/status"]);
        project.ok(&all)
    };
    let root = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n";
    assert_eq!(status(&[]), root);
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/status", pid(&project, "one")))
            .map(|text| {
                text.lines()
                    .filter(|line| line.starts_with("Cap"))
                    .map(|line| format!("{line}\n"))
                    .collect::<String>()
            })
            .unwrap(),
        root
    );
    let user = status(&["-u", "1000"]);
    assert!(
        user.contains("CapEff:\t0000000000000000") && user.contains("CapPrm:\t0000000000000000"),
        "{user}"
    );
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("CapEff")).unwrap();
    assert!(status(&["--privileged"]).contains(own), "{own}");
    project.down();
}
