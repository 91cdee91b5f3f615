//! `compose cp`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Command, Stdio};

use crate::stack::{Project, text};

const TWO: &str = "
services:
  one: {x-rootfs: @busybox@, command: sleep 1000, scale: 2}
  over: {x-rootfs: @busybox@, command: 'true'}
";

#[test]
fn files_go_into_all_containers_and_out_of_the_first() {
    let project = Project::new("cp", TWO);
    project.ok(&["up", "-d"]);
    fs::create_dir_all(project.folder.join("source/deep")).unwrap();
    project.write("source/deep/file", "from outside\n");
    std::os::unix::fs::symlink("deep/file", project.folder.join("source/link")).unwrap();
    chown(project.folder.join("source/deep/file"), Some(1234), Some(1234)).unwrap();
    project.ok(&["cp", "source", "one:/tmp/made"]);
    for index in ["1", "2"] {
        let seen = |path: &str| project.ok(&["exec", "-T", "--index", index, "one", "cat", path]);
        assert_eq!(seen("/tmp/made/link"), "from outside\n");
    }
    // Into a folder that is there; what is in a folder, by `/.`; with its owner, by -a.
    project.ok(&["cp", "-a", "source/deep/file", "one:/tmp/made"]);
    project.ok(&["cp", "source/.", "one:/tmp"]);
    let listed = project.ok(&["exec", "-T", "one", "ls", "-n", "/tmp/made/file", "/tmp/deep/file"]);
    assert!(listed.contains(" 1234     1234 ") && listed.contains(" 0        0 "), "{listed}");
    project.ok(&["exec", "-T", "one", "sh", "-c", "echo from inside > /tmp/made/deep/file"]);
    project.ok(&["cp", "one:/tmp/made", "taken"]);
    assert_eq!(fs::read_to_string(project.folder.join("taken/deep/file")).unwrap(), "from inside\n");
    assert_eq!(fs::metadata(project.folder.join("taken/file")).unwrap().uid(), 0);
    project.ok(&["cp", "-L", "one:/tmp/made/link", "followed"]);
    assert!(fs::symlink_metadata(project.folder.join("followed")).unwrap().is_file());
    // As an archive, from one to the other.
    let archive = project.run(&["cp", "one:/tmp/made", "-"]).stdout;
    fs::write(project.folder.join("archive.tar"), archive).unwrap();
    let mut command = project.command(&["cp", "-", "one:/etc"]);
    let fed = command.stdin(Stdio::from(fs::File::open(project.folder.join("archive.tar")).unwrap()));
    assert!(fed.status().unwrap().success());
    assert_eq!(project.ok(&["exec", "-T", "one", "cat", "/etc/made/deep/file"]), "from inside\n");
    project.down();
}

#[test]
fn what_cannot_be_copied_says_why() {
    let project = Project::new("cp-wrong", TWO);
    let refused = |args: &[&str], why: &str| {
        let (code, error) = project.fails(args);
        assert!(code == 1 && error.contains(why), "{args:?}: {error}");
    };
    refused(&["cp", "a", "b"], "`SERVICE:PATH`");
    refused(&["cp", "one:/a", "two:/b"], "between services is not supported");
    refused(&["cp", "one:/a", "b"], "no container found for service \"one\"");
    project.ok(&["up", "-d"]);
    refused(&["cp", "one:/missing", "here"], "/missing: No such file");
    refused(&["cp", "missing", "one:/tmp"], "missing: No such file");
    refused(&["cp", "compose.yaml", "one:/no/such/folder"], "/no/such: No such file");
    refused(&["cp", "--index", "3", "compose.yaml", "one:/tmp"], "has no container 3: it has 1, 2");
    // A link in a container leads to what it leads to there.
    project.ok(&["exec", "-T", "one", "ln", "-s", "/etc/shadow", "/tmp/link"]);
    refused(&["cp", "-L", "one:/tmp/link", "here"], "No such file");
    assert!(!project.folder.join("here").exists());
    project.down();
}

#[test]
fn a_reader_that_goes_ends_the_copy() {
    let project = Project::new("cp-pipe", TWO);
    project.ok(&["up", "-d"]);
    let mut child = project
        .command(&["cp", "one:/bin", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success(), "{}", text(&output.stderr));
    project.down();
}

#[test]
fn what_is_left_out_or_unreadable_is_said() {
    let project = Project::new("cp-odd", TWO);
    project.ok(&["up", "-d"]);
    fs::create_dir(project.folder.join("source")).unwrap();
    project.write("source/file", "x");
    let made = Command::new("mknod").arg(project.folder.join("source/null")).args(["c", "1", "3"]).status();
    assert!(made.unwrap().success());
    let output = project.run(&["cp", "source", "one:/tmp/made"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("Copied"), "{said}");
    assert!(said.contains("devices are not copied: source/null"), "{said}");
    project.ok(&["exec", "-T", "one", "cat", "/tmp/made/file"]);
    // Files that do not tell their length.
    project.ok(&["cp", "one:/proc/1/cmdline", "cmdline"]);
    assert_eq!(fs::read(project.folder.join("cmdline")).unwrap(), b"sleep\x001000\x00");
    let mut command = project.command(&["cp", "-", "one:/tmp"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[b"rub\x1b[31mbish".as_slice(); 100].concat()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("no tar archive"), "{said}");
    assert!(!said.contains("bish"), "{said}");
    project.down();
}

#[test]
fn a_stream_that_stays_open_keeps_nobody() {
    let project = Project::new("cp-open", TWO);
    project.ok(&["up", "-d"]);
    // The archive is whole: only who reads on after it waits.
    let archive = project.run(&["cp", "one:/etc/passwd", "-"]).stdout;
    let start = || {
        let mut command = project.command(&["cp", "-", "one:/tmp"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // More than the pipes hold: it is being read when this returns.
        pipe.write_all(&archive).unwrap();
        pipe.write_all(&vec![0; 1 << 20]).unwrap();
        (child, pipe)
    };
    let (mut killed, pipe) = start();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let (left, second) = start();
    project.ok(&["stop", "-t", "0"]);
    let output = left.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("the container has ended"), "{said}");
    project.ok(&["down", "-v", "-t", "0"]);
    project.assert_nothing_left();
    drop((pipe, second));
}

const RESTING: &str = "
services:
  one: {x-rootfs: @busybox@, command: sleep 1000, volumes: [data:/data, ./bound:/bound], tmpfs: /tmp}
  host: {x-rootfs: host, command: sleep 1000}
  over: {x-rootfs: @busybox@, command: 'sh -c \"echo made | tee /made /data/made\"', volumes: [data:/data]}
  firm: {x-rootfs: @busybox@, command: sleep 1000, read_only: true}
volumes: {data: }
";

#[test]
fn files_go_into_containers_that_have_not_run_and_out_of_those_that_have() {
    let project = Project::new("cp-rest", RESTING);
    project.write("given", "from outside\n");
    project.ok(&["create"]);
    for target in ["one:/etc", "one:/data/new", "one:/bound", "host:/usr/given"] {
        project.ok(&["cp", "given", target]);
    }
    assert_eq!(fs::read_to_string(project.folder.join("bound/given")).unwrap(), "from outside\n");
    // The thread that had its own mounts has left them.
    for pid in project.processes("compose-supervisor") {
        let namespace = |task: &str| fs::read_link(format!("/proc/{pid}/task/{task}/ns/mnt"));
        let own = namespace(&pid.to_string()).unwrap();
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let other = namespace(task.file_name().to_str().unwrap());
            assert!(other.is_err() || other.unwrap() == own);
        }
    }
    let (code, error) = project.fails(&["cp", "given", "firm:/etc"]);
    assert!(code == 1 && error.contains("Read-only file system"), "{error}");
    project.ok(&["cp", "firm:/etc/passwd", "passwd"]);
    project.ok(&["up", "-d"]);
    project.ends("over");
    let exec = |service: &str, path: &str| project.ok(&["exec", "-T", service, "cat", path]);
    for (service, path) in
        [("one", "/etc/given"), ("one", "/data/new"), ("one", "/data/made"), ("host", "/usr/given")]
    {
        assert_eq!(exec(service, path), if path.ends_with("made") { "made\n" } else { "from outside\n" });
    }
    project.ok(&["cp", "over:/made", "taken"]);
    project.ok(&["cp", "over:/data/new", "volume"]);
    assert_eq!(fs::read_to_string(project.folder.join("taken")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(project.folder.join("volume")).unwrap(), "from outside\n");
    // A link leads to what it leads to in the container; nothing is found outside it.
    std::os::unix::fs::symlink(project.folder.join("given"), project.folder.join("link")).unwrap();
    project.ok(&["stop", "-t", "0"]);
    project.ok(&["cp", "link", "one:/etc/link"]);
    let (_, error) = project.fails(&["cp", "-L", "one:/etc/link", "here"]);
    assert!(error.contains("No such file"), "{error}");
    project.ok(&["start"]);
    assert_eq!(exec("one", "/etc/given"), "from outside\n");
    project.down();
}

#[test]
fn a_copy_makes_way_for_whoever_starts_or_removes_the_container() {
    let project = Project::new("cp-way", RESTING);
    project.write("given", "from outside\n");
    project.ok(&["create"]);
    let archive = {
        project.ok(&["cp", "given", "one:/etc/given"]);
        project.run(&["cp", "one:/etc/given", "-"]).stdout
    };
    let open = || {
        let mut command = project.command(&["cp", "-", "one:/opt"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // More than the pipes hold: it is being read when this returns.
        pipe.write_all(&archive).unwrap();
        pipe.write_all(&vec![0; 1 << 20]).unwrap();
        (child, pipe)
    };
    fs::create_dir(project.folder.join("folder")).unwrap();
    project.ok(&["cp", "folder", "one:/opt"]);
    // One whose client goes holds nobody up.
    let (mut gone, pipe) = open();
    gone.kill().unwrap();
    gone.wait().unwrap();
    project.ok(&["cp", "one:/opt/given", "taken"]);
    drop(pipe);
    let ended = |args: &[&str]| {
        let (left, pipe) = open();
        project.ok(args);
        let output = left.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("about to be started or removed"), "{said}");
        drop(pipe);
    };
    ended(&["start"]);
    assert_eq!(project.ok(&["exec", "-T", "one", "cat", "/opt/given"]), "from outside\n");
    project.ok(&["stop", "-t", "0"]);
    ended(&["down", "-v", "-t", "0"]);
    project.assert_nothing_left();
}
