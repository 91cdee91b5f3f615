//! What a container's programs may do: capabilities, system calls, the kernel's files, groups, limits.

use crate::stack::{Project, text};

// Of errno(3).
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

const SHOW: &str = "grep -E '^(Cap(Prm|Eff|Bnd)|NoNewPrivs|Seccomp|Groups):' /proc/self/status";

/// A project with services of these names and keys, each of which sleeps.
fn project(name: &str, services: &[(&str, &str)]) -> Project {
    let services: String = services
        .iter()
        .map(|(name, keys)| format!("  {name}: {{x-rootfs: @busybox@, command: sleep 1000, {keys}}}\n"))
        .collect();
    Project::new(name, &format!("services:\n{services}"))
}

fn sh(project: &Project, service: &str, script: &str) -> String {
    project.ok(&["exec", "-T", service, "sh", "-c", script])
}

/// A capability set of a service's program and of one that `exec` starts in it, which are the same.
fn capabilities(project: &Project, service: &str, set: &str) -> u64 {
    let of = |pid: &str| {
        let script = format!("grep ^{set}: /proc/{pid}/status | cut -f2");
        u64::from_str_radix(sh(project, service, &script).trim(), 16).unwrap()
    };
    let (own, exec) = (of("1"), of("self"));
    assert_eq!(own, exec, "{service}: {set}");
    own
}

const DEFAULT: u64 = 0xa804_25fb;
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const MKNOD: u64 = 1 << 27;
const SYS_RESOURCE: u64 = 1 << 24;
const SYS_TIME: u64 = 1 << 25;
const CHOWN: u64 = 1;

#[test]
fn capabilities_are_added_and_dropped() {
    let project = project(
        "caps",
        &[
            ("added", "cap_add: [net_admin, CAP_SYS_ADMIN], cap_drop: [MKNOD]"),
            ("few", "cap_drop: [ALL], cap_add: [CHOWN]"),
            ("none", "cap_drop: [all]"),
            ("all", "cap_add: [ALL]"),
            ("user", "user: '1000', cap_add: [NET_ADMIN]"),
        ],
    );
    project.ok(&["up", "-d"]);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let of = |service: &str| capabilities(&project, service, set);
        assert_eq!(of("added"), (DEFAULT | NET_ADMIN | SYS_ADMIN) & !MKNOD, "{set}");
        assert_eq!(of("few"), CHOWN, "{set}");
        assert_eq!(of("none"), 0, "{set}");
        assert_eq!(of("all").count_ones(), caps(), "{set}");
        // Who is not root has none, and may gain these by programs.
        let user = if set == "CapBnd" { DEFAULT | NET_ADMIN } else { 0 };
        assert_eq!(of("user"), user, "{set}");
    }
    // They are worth something.
    sh(&project, "added", "ip link set lo down && ip link set lo up");
    sh(&project, "added", "hostname other && mount -t tmpfs none /tmp");
    assert!(!project.run(&["exec", "-T", "few", "sh", "-c", "hostname other"]).status.success());
    let refused = project.run(&["exec", "-T", "none", "sh", "-c", "chown 1 /tmp"]);
    assert!(text(&refused.stderr).contains("not permitted"), "{refused:?}");
    project.down();
}

#[test]
fn run_has_capabilities_of_its_own() {
    let project = project("caps-run", &[("one", "cap_add: [SYS_TIME], cap_drop: [MKNOD]")]);
    let script = "grep ^CapBnd: /proc/self/status | cut -f2";
    let of = |flags: &[&str]| {
        let mut args = vec!["run", "--rm", "-T"];
        args.extend(flags);
        args.extend(["one", "sh", "-c", script]);
        u64::from_str_radix(project.ok(&args).trim(), 16).unwrap()
    };
    assert_eq!(of(&["--cap-add", "net_admin", "--cap-add=CAP_MKNOD"]), DEFAULT | NET_ADMIN | SYS_TIME);
    assert_eq!(of(&["--cap-drop", "SYS_TIME"]), DEFAULT & !MKNOD);
    let (_, message) = project.fails(&["run", "--cap-add", "NET_ADMN", "one", "true"]);
    assert!(message.contains("`NET_ADMN` is not a capability: did you mean `NET_ADMIN`?"), "{message}");
    project.down();
}

/// How many capabilities there are to be had on this machine: whoever started the tests may not have all.
fn caps() -> u32 {
    sets("CapBnd").count_ones()
}

/// A capability set of this process.
fn sets(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap()
}

#[test]
fn changed_capabilities_make_a_new_container_and_the_same_ones_do_not() {
    let project = project("caps-change", &[("one", "cap_add: [NET_ADMIN, SYS_TIME]")]);
    project.ok(&["up", "-d"]);
    let id = project.field("one", "ID");
    project.write(
        "compose.yaml",
        "services: {one: {x-rootfs: @busybox@, command: sleep 1000, cap_add: [cap_sys_time, NET_ADMIN]}}",
    );
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("one", "ID"), id);
    project.write(
        "compose.yaml",
        "services: {one: {x-rootfs: @busybox@, command: sleep 1000, cap_add: [NET_ADMIN]}}",
    );
    project.ok(&["up", "-d"]);
    assert_ne!(project.field("one", "ID"), id);
    project.down();
}

#[test]
fn who_is_privileged_has_all_of_it() {
    let project = project("privileged", &[("one", "privileged: true"), ("other", "read_only: true")]);
    project.ok(&["up", "-d"]);
    assert_eq!(capabilities(&project, "one", "CapEff").count_ones(), caps());
    let show = sh(&project, "one", SHOW);
    assert!(show.contains("Seccomp:\t0"), "{show}");
    sh(&project, "one", "mount -t tmpfs none /tmp && unshare -m true");
    // Nothing is hidden or locked, and it may write to /sys and its control group.
    sh(&project, "one", "test -w /proc/sys/kernel/panic");
    let mounts = sh(&project, "one", "cat /proc/mounts");
    for place in ["/sys sysfs rw", "/proc proc rw"] {
        assert!(mounts.contains(place), "{place}: {mounts}");
    }
    assert!(!mounts.contains("/proc/sys ") && !mounts.contains("/sys/firmware"), "{mounts}");
    // The host's devices are there, and work, as do others that it makes.
    assert_eq!(sh(&project, "one", "test -c /dev/kmsg && test -c /dev/null && echo there"), "there\n");
    assert_eq!(sh(&project, "one", "mknod /zero2 c 1 5 && head -c 3 /zero2 | wc -c"), "3\n");
    let other = sh(&project, "other", "test -e /dev/kmsg || echo none; cat /proc/mounts");
    assert!(other.starts_with("none\n") && other.contains("/proc/sys proc ro"), "{other}");
    project.down();
}

#[test]
fn security_options() {
    let project = project(
        "security",
        &[
            ("nnp", "security_opt: ['no-new-privileges:true']"),
            ("open", "security_opt: [seccomp=unconfined]"),
            ("paths", "security_opt: [systempaths=unconfined]"),
            ("profile", "security_opt: ['seccomp=./profile.json']"),
            ("strict", "user: bob, working_dir: /tmp, security_opt: ['seccomp=strict.json']"),
            ("module", "security_opt: [apparmor=unconfined, 'label:disable']"),
        ],
    );
    project.write(
        "profile.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#,
    );
    // What it takes to become another user in another folder has been done before.
    project.write(
        "strict.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["openat2", "close_range", "fchdir", "chdir", "setresuid", "setresgid", "setgroups"],
                          "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    project.ok(&["up", "-d"]);
    let shown = sh(&project, "strict", "id -u; pwd; (cd /) 2>&1 || true");
    assert!(shown.starts_with("1000\n/tmp\n") && shown.contains("not permitted"), "{shown}");
    assert_eq!(capabilities(&project, "strict", "CapPrm"), 0);
    let show = |service: &str| sh(&project, service, SHOW);
    let nnp = show("nnp");
    assert!(nnp.contains("NoNewPrivs:\t1") && nnp.contains("Seccomp:\t2"), "{nnp}");
    assert!(show("module").contains("NoNewPrivs:\t0"));
    assert!(show("open").contains("Seccomp:\t0"));
    assert_eq!(capabilities(&project, "open", "CapEff"), DEFAULT);
    assert_eq!(sh(&project, "paths", "grep -c ' /proc/' /proc/mounts || true"), "0\n");
    let refused = project.run(&["exec", "-T", "profile", "mkdir", "/tmp/new"]);
    assert!(text(&refused.stderr).contains("No space left"), "{refused:?}");
    // A profile that has changed is another configuration.
    let id = project.field("profile", "ID");
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("profile", "ID"), id);
    project.write("profile.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    project.ok(&["up", "-d"]);
    assert_ne!(project.field("profile", "ID"), id);
    project.ok(&["exec", "-T", "profile", "mkdir", "/tmp/new"]);
    project.down();
}

#[test]
fn system_calls_that_a_container_does_not_get() {
    let file = "services:\n  one: {x-rootfs: host, command: [sleep, '1000']}\n  admin: {x-rootfs: host, command: [sleep, '1000'], cap_add: [SYS_ADMIN, SYS_PTRACE]}\n";
    let project = Project::new("calls", file);
    project.ok(&["up", "-d"]);
    // By their numbers on x86-64; arguments that no call takes: what gets through fails otherwise.
    let script = "import ctypes, os, sys\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        for n in map(int, sys.argv[1:]):\n    \
            ctypes.set_errno(0)\n    \
            r = libc.syscall(n, -1, -1, -1, -1, -1)\n    \
            print(n, ctypes.get_errno())\n";
    let errors = |service: &str, numbers: &[u32]| -> Vec<i32> {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let mut args = vec!["exec", "-T", service, "python3", "-c", script];
        args.extend(numbers.iter().map(String::as_str));
        let output = project.ok(&args);
        output.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
    };
    // mount, umount2, pivot_root, init_module, kexec_load, bpf, perf_event_open, userfaultfd, keyctl, add_key, unshare,
    // setns, open_by_handle_at, io_uring_setup, fsopen, open_tree, move_mount, kcmp, process_madvise, quotactl, acct,
    // swapon, settimeofday, iopl.
    let refused = [
        165, 166, 155, 175, 246, 321, 298, 323, 250, 248, 272, 308, 304, 425, 430, 428, 429, 312, 440, 179,
        163, 167, 164, 172,
    ];
    assert!(errors("one", &refused).iter().all(|errno| *errno == EPERM), "{:?}", errors("one", &refused));
    // clone3, and one that does not exist yet.
    assert_eq!(errors("one", &[435, 600]), [ENOSYS, ENOSYS]);
    // Whoever has CAP_SYS_ADMIN may mount, and whoever has CAP_SYS_PTRACE may compare; neither gets keyrings.
    let with = errors("admin", &[166, 428, 312, 250, 425]);
    assert!(with[..3].iter().all(|errno| *errno != EPERM), "{with:?}");
    assert_eq!(with[3..], [EPERM, EPERM]);
    project.down();
}

#[test]
fn groups_limits_and_shared_memory() {
    let project = project(
        "ulimits",
        &[
            ("root", "group_add: [extra, 4000, '5000']"),
            ("bob", "user: bob, group_add: ['7000']"),
            (
                "few",
                "ulimits: {nofile: {soft: 100, hard: 200}, nproc: 50, core: -1}, oom_score_adj: 300, shm_size: 8m",
            ),
        ],
    );
    project.ok(&["up", "-d"]);
    assert_eq!(sh(&project, "root", "id -G"), "0 1500 4000 5000\n");
    assert_eq!(sh(&project, "bob", "id -u; id -G"), "1000\n1000 1500 7000\n");
    let limits = "ulimit -Sn; ulimit -Hn; cat /proc/1/oom_score_adj /proc/self/oom_score_adj";
    assert_eq!(sh(&project, "few", limits), "100\n200\n300\n300\n");
    let of_first = sh(&project, "few", "grep -E 'processes|core' /proc/1/limits | tr -s ' '");
    assert!(
        of_first.contains("Max processes 50 50") && of_first.contains("core file size unlimited unlimited"),
        "{of_first}"
    );
    assert_eq!(sh(&project, "few", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"), "8192\n");
    assert_eq!(sh(&project, "bob", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"), "65536\n");
    project.down();
}

#[test]
fn a_limit_beyond_what_there_is() {
    let (_, own) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let highest: u64 = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
    let may_raise = sets("CapEff") & SYS_RESOURCE != 0;
    let most = if may_raise { highest } else { own };
    let keys = "ulimits: {nofile: {soft: 1024, hard: 9000000000}}";
    let project = project("ulimit-most", &[("one", keys)]);
    let output = project.run(&["up", "-d"]);
    let message = text(&output.stderr);
    assert!(output.status.success(), "{message}");
    let words = format!("`nofile` is {most} in place of 9000000000");
    assert!(message.contains(&words), "{message}");
    assert_eq!(sh(&project, "one", "ulimit -Sn; ulimit -Hn"), format!("1024\n{most}\n"));
    project.down();
}

#[test]
fn unknown_groups_and_users_are_named() {
    for (keys, words) in [
        (
            "group_add: [wheels]",
            ["join the group wheels", "/etc/group has no group wheels", "group_add: [wheels]"],
        ),
        ("user: nobody-here", ["run as user nobody-here", "/etc/passwd has no such user", "compose.yaml:2:"]),
        (
            "sysctls: {kernel.shmmax: many}",
            ["set kernel.shmmax to many", "Invalid argument", "compose.yaml:2:"],
        ),
        // Those of its network are set from outside.
        (
            "sysctls: ['net.core.somaxconn=abc']",
            ["set the parameter net.core.somaxconn to abc", "Invalid argument", "'net.core.somaxconn=abc'"],
        ),
        (
            "network_mode: none, sysctls: {net.foo.bar: 1}",
            ["set the parameter net.foo.bar to 1", "No such file or directory", "compose.yaml:2:"],
        ),
    ] {
        let project = project("unknown", &[("one", keys)]);
        let (_, message) = project.fails(&["up", "-d"]);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        project.down();
    }
}

#[test]
fn kernel_parameters_of_its_own() {
    let project = project(
        "sysctls",
        &[
            ("one", "sysctls: {kernel.shmmax: 4096, fs.mqueue.msg_max: '20', net.core.somaxconn: 77}"),
            ("alone", "network_mode: none, sysctls: {kernel.msgmax: 5000}"),
        ],
    );
    let host = |file: &str| std::fs::read_to_string(file).unwrap();
    let before = host("/proc/sys/kernel/shmmax") + &host("/proc/sys/kernel/msgmax");
    project.ok(&["up", "-d"]);
    let files = "cat /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max /proc/sys/net/core/somaxconn";
    assert_eq!(sh(&project, "one", files), "4096\n20\n77\n");
    assert_eq!(sh(&project, "alone", "cat /proc/sys/kernel/msgmax"), "5000\n");
    assert_eq!(host("/proc/sys/kernel/shmmax") + &host("/proc/sys/kernel/msgmax"), before);
    project.down();
}
