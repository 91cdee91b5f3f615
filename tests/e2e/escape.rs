//! Ways out of a container, all of them closed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Output, Stdio};

use crate::stack::{Project, text};

const ONE: &str = "services: {one: {x-rootfs: @busybox@, command: sleep 1000, working_dir: /work}}";

fn exec(project: &Project, stdin: impl Into<Stdio>, args: &[&str]) -> Output {
    let args: Vec<&str> = ["exec", "-T"].into_iter().chain(args.iter().copied()).collect();
    project.command(&args).stdin(stdin).output().unwrap()
}

#[test]
fn a_working_folder_leads_to_no_descriptor_of_ours() {
    let project = Project::new("workdir", ONE);
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "-w", "/", "one", "rmdir", "/work"]);
    for number in 3..20 {
        let link = format!("/proc/self/fd/{number}");
        project.ok(&["exec", "-T", "-w", "/", "one", "ln", "-sfn", &link, "/work"]);
        let (code, message) = project.fails(&["exec", "-T", "one", "ls", "../../../.."]);
        assert!(code == 126 && message.contains("/work"), "{link}: {code} {message}");
    }
    project.down();
}

#[test]
fn what_exec_is_given_stays_the_callers() {
    let project = Project::new("streams", ONE);
    project.ok(&["up", "-d"]);
    let path = project.folder.join("input");
    fs::write(&path, "original\n").unwrap();
    let script = "cat; echo changed > /proc/self/fd/0";
    let output = exec(&project, File::open(&path).unwrap(), &["one", "sh", "-c", script]);
    assert_eq!(text(&output.stdout), "original\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "original\n");
    // A folder of the host's would be a way to all of it.
    let folder = File::open(&project.folder).unwrap();
    let output = exec(&project, folder, &["one", "ls", "/proc/self/fd/0/"]);
    assert!(!output.status.success(), "{}", text(&output.stdout));
    // What it prints goes to a file all the same, and a user other than root may open it anew.
    let out = File::create(project.folder.join("output")).unwrap();
    let script = "echo one; echo two > /dev/stdout; echo three > /dev/stderr";
    let mut command = project.command(&["exec", "-T", "-u", "1000", "one", "sh", "-c", script]);
    let done = command.stdout(out).output().unwrap();
    assert!(done.status.success() && text(&done.stderr) == "three\n", "{done:?}");
    assert_eq!(fs::read_to_string(project.folder.join("output")).unwrap(), "one\ntwo\n");
    project.down();
}

#[test]
fn its_devices_are_its_own() {
    let project = Project::new("own-devices", ONE);
    project.ok(&["up", "-d"]);
    let before = fs::metadata("/dev/full").unwrap().permissions().mode();
    project.ok(&["exec", "-T", "one", "chmod", "600", "/dev/full"]);
    assert_eq!(fs::metadata("/dev/full").unwrap().permissions().mode(), before);
    let null = fs::metadata("/dev/null").unwrap();
    let host = format!("{}:{}\n", null.dev(), null.ino());
    for path in ["/dev/null", "/proc/keys", "/proc/self/fd/0"] {
        let inside = project.ok(&["exec", "-T", "one", "stat", "-L", "-c", "%d:%i", path]);
        assert_ne!(inside, host, "{path} is the host's");
    }
    project.down();
}

#[test]
fn the_files_made_for_it_do_not_fill_the_hosts_disk() {
    let project = Project::new("own-files", ONE);
    project.ok(&["up", "-d"]);
    for file in ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"] {
        let script = format!("echo '# mine' >> {file} && ! head -c 2000000 /dev/zero >> {file}");
        project.ok(&["exec", "-T", "one", "sh", "-c", &script]);
        let kept = project.ok(&["exec", "-T", "one", "head", "-c", "10000", file]);
        assert!(kept.contains("# mine\n"), "{file}: {kept}");
    }
    project.down();
}

#[test]
fn namespaces_and_mounts_are_refused_to_it() {
    let file = "services: {one: {x-rootfs: host, command: [sleep, '1000']}}";
    let project = Project::new("filter", file);
    project.ok(&["up", "-d"]);
    for script in ["unshare -Ur true", "unshare -m true", "mount -t tmpfs none /mnt"] {
        let output = exec(&project, Stdio::null(), &["one", "sh", "-c", script]);
        let message = text(&output.stderr);
        assert!(!output.status.success() && message.contains("ermi"), "{script}: {message}");
    }
    let output = project.run(&["exec", "-T", "--privileged", "one", "unshare", "-m", "true"]);
    assert!(output.status.success(), "{output:?}");
    // Programs with the set-user-ID bit go on working: no_new_privs is not set.
    assert_eq!(
        project.ok(&["exec", "-T", "one", "grep", "NoNewPrivs", "/proc/self/status"]),
        "NoNewPrivs:\t0\n"
    );
    project.down();
}

#[test]
fn read_only_covers_the_hosts_folders_and_the_generated_files() {
    let file =
        "services: {one: {x-rootfs: host, read_only: true, tmpfs: [/scratch], command: [sleep, '1000']}}";
    let project = Project::new("ro-host", file);
    project.ok(&["up", "-d"]);
    for place in ["/file", "/usr/file", "/etc/file", "/etc/hosts"] {
        let output = exec(&project, Stdio::null(), &["one", "sh", "-c", &format!("echo x >> {place}")]);
        assert!(text(&output.stderr).contains("Read-only"), "{place}: {output:?}");
    }
    project.ok(&["exec", "-T", "one", "touch", "/scratch/file"]);
    project.down();
}

#[test]
fn a_volume_is_a_volume_whatever_its_name() {
    let victim = std::env::temp_dir().join(format!("composer-e2e-victim-{}", std::process::id()));
    fs::create_dir_all(victim.join("inside")).unwrap();
    for name in [victim.display().to_string(), format!("../../../..{}", victim.display())] {
        let file = format!(
            "services: {{one: {{x-rootfs: @busybox@, command: sleep 1000, volumes: ['v:/v']}}}}\nvolumes: {{v: {{name: '{name}'}}}}"
        );
        let project = Project::new("victim", &file);
        let (code, message) = project.fails(&["up", "-d"]);
        assert!(code == 1 && message.contains("is not a volume's name"), "{message}");
        project.ok(&["down", "-v"]);
        assert!(victim.join("inside").is_dir(), "{name} was removed");
        project.assert_nothing_left();
    }
    fs::remove_dir_all(&victim).unwrap();
    assert!(!Path::new(&victim).exists());
}

#[test]
fn the_program_behind_it_cannot_be_written() {
    let project = Project::new(
        "own-program",
        "services: {one: {x-rootfs: @busybox@, init: true, command: sleep 1000}}",
    );
    let before = fs::metadata(env!("CARGO_BIN_EXE_compose")).unwrap();
    project.ok(&["up", "-d"]);
    // Its first process is the small init, which is ours. All ways of getting a hand on its file for writing fail.
    let script = "exec 2>&1; for way in /proc/1/exe /proc/self/fd/9; do (exec 9</proc/1/exe; echo x >> $way); (exec 9</proc/1/exe; : > $way); done; true";
    let said = project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    assert_eq!(said.lines().filter(|line| line.contains("can't create")).count(), 4, "{said}");
    let privileged = ["exec", "-T", "--privileged", "one", "sh", "-c"];
    let script = "exec 2>&1; echo x >> /proc/1/exe; mkdir /on; touch /on/it; mount --bind /proc/1/exe /on/it && echo mounted; true";
    let said = project.ok(&[&privileged[..], &[script]].concat());
    assert!(said.contains("can't create /proc/1/exe") && !said.contains("mounted"), "{said}");
    let after = fs::metadata(env!("CARGO_BIN_EXE_compose")).unwrap();
    assert_eq!((before.ino(), before.size(), before.mtime()), (after.ino(), after.size(), after.mtime()));
    project.down();
}
