//! Volumes: what they get when they are empty, what they mount, whose they are.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use crate::stack::{Project, busybox, text};

/// A root folder with busybox and something at /data.
fn root(name: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("composer-e2e-root-{name}-{}", std::process::id()));
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy(busybox().join("bin/busybox"), root.join("bin/busybox")).unwrap();
    for applet in ["sh", "sleep", "cat", "stat", "ls", "rm", "echo", "readlink", "find", "test", "head"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let data = root.join("data");
    fs::create_dir_all(data.join("deep/er")).unwrap();
    fs::write(data.join("deep/er/file"), "from the root\n").unwrap();
    fs::write(data.join("first"), "linked\n").unwrap();
    fs::hard_link(data.join("first"), data.join("deep/second")).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    nix::unistd::mkfifo(&data.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o640)).unwrap();
    fs::write(data.join("tool"), "").unwrap();
    fs::set_permissions(data.join("tool"), fs::Permissions::from_mode(0o4750)).unwrap();
    chown(data.join("deep/er/file"), Some(70), Some(71)).unwrap();
    std::os::unix::fs::lchown(data.join("link"), Some(72), Some(72)).unwrap();
    rustix::fs::setxattr(data.join("first"), c"user.kind", b"sort", rustix::fs::XattrFlags::empty()).unwrap();
    for (folder, mode) in [("deep", 0o1777), ("", 0o700)] {
        let folder = data.join(folder);
        chown(&folder, Some(999), Some(998)).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    let old = filetime(1_000_000_000);
    for path in ["deep/er/file", "deep", ""] {
        rustix::fs::utimensat(rustix::fs::CWD, data.join(path), &old, rustix::fs::AtFlags::empty()).unwrap();
    }
    root
}

fn filetime(seconds: i64) -> rustix::fs::Timestamps {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
    rustix::fs::Timestamps { last_access: time, last_modification: time }
}

pub fn volume(project: &Project, key: &str) -> PathBuf {
    Path::new("/var/lib/compose/volumes").join(format!("{}_{key}", project.name))
}

fn file(root: &Path, rest: &str) -> String {
    format!("services:\n  one:\n    x-rootfs: {}\n    command: sleep 1000\n{rest}", root.display())
}

#[test]
fn an_empty_volume_gets_what_the_root_has_there() {
    let root = root("fill");
    let rest = "    volumes: ['data:/data', '/deep-anonymous', {type: volume, source: bare, target: /data/deep, volume: {nocopy: true}}]\nvolumes: {data: , bare: }\n";
    let project = Project::new("fill", &file(&root, rest));
    project.ok(&["up", "-d"]);
    let (copy, source) = (volume(&project, "data"), root.join("data"));
    for path in ["", "deep", "deep/er", "deep/er/file", "first", "deep/second", "link", "pipe", "tool"] {
        let (have, want) = (
            fs::symlink_metadata(copy.join(path)).unwrap(),
            fs::symlink_metadata(source.join(path)).unwrap(),
        );
        let all =
            |found: &fs::Metadata| (found.uid(), found.gid(), found.mode(), found.nlink(), found.mtime());
        assert_eq!(all(&have), all(&want), "{path}");
    }
    assert_eq!(fs::read_to_string(copy.join("deep/er/file")).unwrap(), "from the root\n");
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(
        fs::metadata(copy.join("first")).unwrap().ino(),
        fs::metadata(copy.join("deep/second")).unwrap().ino()
    );
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(copy.join("first"), c"user.kind", &mut value).unwrap();
    assert_eq!(&value[..length], b"sort");
    // `nocopy` leaves it as it is.
    assert_eq!(fs::read_dir(volume(&project, "bare")).unwrap().count(), 0);
    // What somebody has written stays; a restart fills nothing, and a new container fills what is empty, as in Docker.
    project.ok(&["exec", "-T", "one", "sh", "-c", "echo mine > /data/first"]);
    project.ok(&["up", "-d", "--force-recreate", "-t", "0"]);
    assert_eq!(project.ok(&["exec", "-T", "one", "cat", "/data/first"]), "mine\n");
    project.ok(&["exec", "-T", "one", "sh", "-c", "rm -rf /data/first /data/link /data/pipe /data/tool"]);
    project.ok(&["down", "-t", "0"]);
    fs::remove_dir_all(copy.join("deep")).unwrap();
    assert_eq!(fs::read_dir(&copy).unwrap().count(), 0);
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["exec", "-T", "one", "cat", "/data/first"]), "linked\n");
    project.ok(&["exec", "-T", "one", "sh", "-c", "cd /data && rm -rf first link pipe tool"]);
    project.ok(&["volume", "rm", &project.left_volumes()[0]]);
    project.down();
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_copy_that_was_killed_is_not_believed() {
    let root = root("half");
    let rest = "    volumes: ['data:/data', 'moved:/data/deep']\nvolumes: {data: , moved: }\n";
    let project = Project::new("half", &file(&root, rest));
    // As a kill leaves it in the middle of the copy, and in the middle of moving it up.
    let (data, moved) = (volume(&project, "data"), volume(&project, "moved"));
    fs::create_dir_all(data.join(".compose-filling/deep")).unwrap();
    fs::write(data.join(".compose-filling/half"), "half").unwrap();
    fs::create_dir_all(moved.join(".compose-filled")).unwrap();
    fs::write(moved.join(".compose-filled/second"), "whole").unwrap();
    fs::write(moved.join("up"), "already").unwrap();
    project.ok(&["up", "-d"]);
    let names = |folder: &Path| {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&data), ["deep", "first", "link", "pipe", "tool"]);
    assert_eq!(names(&moved), ["second", "up"]);
    project.down();
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn containers_that_start_at_once_fill_a_volume_once() {
    let root = root("race");
    for number in 0..300 {
        fs::write(root.join(format!("data/deep/{number}")), format!("{number}\n")).unwrap();
    }
    let rest = "    volumes: ['data:/data']\n    deploy: {replicas: 6}\nvolumes: {data: }\n";
    let rest = rest.replace("sleep 1000", "");
    let text = file(&root, &rest)
        .replace("sleep 1000", "['sh', '-c', 'ls -a /data/deep | cat > /count; sleep 1000']");
    let project = Project::new("race", &text);
    project.ok(&["up", "-d"]);
    for index in 1..=6 {
        let index = index.to_string();
        let seen = project.ok(&["exec", "-T", "--index", &index, "one", "sh", "-c", "ls /data /data/deep"]);
        assert!(seen.contains("\n299\n") && !seen.contains("compose"), "{seen}");
    }
    assert_eq!(fs::read_dir(volume(&project, "data").join("deep")).unwrap().count(), 302);
    project.down();
    fs::remove_dir_all(root).unwrap();
}

/// How many volumes of a project are mounted.
fn mounts(project: &Project) -> usize {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = format!("/run/compose/volumes/{}_", project.name);
    mounts.lines().filter(|line| line.contains(&ours)).count()
}

/// Returns once none is mounted any more: what ended programs stood on goes when nobody waits for it (proc_pid_mounts(5)).
fn until_unmounted(project: &Project) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let table = fs::File::open("/proc/self/mounts").unwrap();
    while mounts(project) > 0 {
        let mut fds = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        assert!(poll(&mut fds, PollTimeout::from(30_000_u16)).unwrap() > 0, "nothing was unmounted");
    }
}

#[test]
fn drivers_options_mount_something_once_for_all() {
    let file = r#"
services:
  one: &service
    x-rootfs: @busybox@
    command: sleep 1000
    volumes: ['memory:/memory', 'folder:/folder', 'locked:/locked']
  two: *service
volumes:
  memory: {driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m,uid=1000,mode=0750'}}
  folder: {driver: local, driver_opts: {type: none, o: bind, device: ./folder}}
  locked: {driver_opts: {type: none, o: 'bind,ro', device: @folder@}}
"#;
    let project = Project::new("drivers", file);
    let folder = project.folder.join("folder");
    project.write("compose.yaml", &file.replace("@folder@", &folder.display().to_string()));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "outside\n").unwrap();
    project.ok(&["up", "-d"]);
    let sh = |service: &str, script: &str| project.ok(&["exec", "-T", service, "sh", "-c", script]);
    sh("one", "echo shared > /memory/file; echo inside > /folder/new");
    assert_eq!(sh("two", "cat /memory/file /folder/file /locked/new"), "shared\noutside\ninside\n");
    assert_eq!(sh("two", "stat -c '%a %u' /memory; head -c 2000000 /dev/zero 2>&1 > /memory/big; stat -c %s /memory/big; rm /memory/big").lines().next(), Some("750 1000"));
    assert!(sh("one", "(echo x > /locked/file) 2>&1; true").contains("Read-only"));
    assert_eq!(fs::read_to_string(folder.join("new")).unwrap(), "inside\n");
    // It stays as long as one uses it, whoever dies meanwhile, and goes with the last.
    project.ok(&["stop", "-t", "0", "one"]);
    assert_eq!((mounts(&project), sh("two", "cat /memory/file").as_str()), (3, "shared\n"));
    project.kill_processes("compose-supervisor");
    project.ok(&["start", "one"]);
    assert_eq!(sh("one", "cat /memory/file"), "shared\n");
    project.ok(&["stop", "-t", "0"]);
    until_unmounted(&project);
    project.ok(&["start"]);
    assert_eq!(sh("one", "ls /memory; cat /folder/file"), "outside\n");
    // Whatever is killed, `down` finds it.
    for service in ["one", "two"] {
        let pid = i32::try_from(project.field(service, "Pid").as_i64().unwrap()).unwrap();
        let pidfd = crate::stack::pidfd(pid);
        project.kill_both();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        crate::stack::ended(&pidfd);
    }
    assert_eq!(mounts(&project), 3);
    project.down();
}

#[test]
fn what_cannot_be_mounted_is_told_with_its_place() {
    let file = r#"
services:
  one: {x-rootfs: @busybox@, command: sleep 1000, volumes: ['data:/data']}
volumes:
  data: {driver_opts: {type: none, o: bind, device: /nowhere/at/all}}
"#;
    let project = Project::new("driver-error", file);
    let (code, message) = project.fails(&["up", "-d"]);
    assert!(
        code == 1 && message.contains("/nowhere/at/all") && message.contains("compose.yaml:5:53"),
        "{message}"
    );
    project.assert_nothing_left();
}

#[test]
fn a_part_of_a_volume_and_no_more() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes: ['data:/all']
  two:
    x-rootfs: @busybox@
    command: sleep 1000
    profiles: [two]
    volumes: [{type: volume, source: data, target: /part, volume: {subpath: some/part}}]
  three:
    x-rootfs: @busybox@
    command: sleep 1000
    profiles: [three]
    volumes: [{type: volume, source: data, target: /part, volume: {subpath: out}}]
volumes: {data: }
"#;
    let project = Project::new("subpath", file);
    project.ok(&["up", "-d"]);
    let (code, message) = project.fails(&["--profile", "two", "up", "-d"]);
    assert!(
        code == 1 && message.contains("there is no some/part") && message.contains(":11:77"),
        "{message}"
    );
    project.ok(&[
        "exec",
        "-T",
        "one",
        "sh",
        "-c",
        "mkdir -p /all/some/part; echo x > /all/some/part/file; ln -s /etc /all/out",
    ]);
    project.ok(&["--profile", "two", "up", "-d"]);
    assert_eq!(project.ok(&["exec", "-T", "two", "ls", "/part"]), "file\n");
    // A link in a volume leads nowhere outside.
    let (code, message) = project.fails(&["--profile", "three", "up", "-d"]);
    assert!(code == 1 && message.contains("out"), "{message}");
    project.ok(&["--profile", "*", "down", "-v", "-t", "0"]);
    project.assert_nothing_left();
}

#[test]
fn mounts_of_others_are_taken_over() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes: ['data:/data', '/anonymous', './bind:/bind', {type: tmpfs, target: /memory}]
  two:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes_from: ['one:ro']
    volumes: ['./own:/bind']
  three:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes_from: [two]
volumes: {data: }
"#;
    let project = Project::new("from", file);
    project.ok(&["up", "-d"]);
    let sh = |service: &str, script: &str| project.ok(&["exec", "-T", service, "sh", "-c", script]);
    sh("one", "echo data > /data/file; echo anonymous > /anonymous/file; echo bind > /bind/file");
    sh("two", "echo own > /bind/file");
    assert_eq!(
        sh("two", "cat /data/file /anonymous/file /bind/file; ls -d /memory 2>&1; true")
            .lines()
            .take(3)
            .collect::<Vec<_>>(),
        ["data", "anonymous", "own"]
    );
    assert!(sh("two", "(echo x > /anonymous/file) 2>&1; true").contains("Read-only"));
    assert_eq!(sh("three", "cat /bind/file /anonymous/file"), "own\nanonymous\n");
    // A container of another stack.
    let other = format!(
        "services: {{four: {{x-rootfs: @busybox@, command: sleep 1000, volumes_from: ['container:{}-one-1']}}}}",
        project.name
    );
    let other = Project::new("from-other", &other);
    other.ok(&["up", "-d"]);
    assert_eq!(
        other.ok(&["exec", "-T", "four", "cat", "/data/file", "/anonymous/file"]),
        "data\nanonymous\n"
    );
    other.down();
    project.down();
    let gone = Project::new(
        "from-gone",
        "services: {four: {x-rootfs: @busybox@, command: sleep 1000, volumes_from: ['container:no-such']}}",
    );
    let (code, message) = gone.fails(&["up", "-d"]);
    assert!(
        code == 1 && message.contains("no container no-such") && message.contains("compose.yaml:1:"),
        "{message}"
    );
    gone.assert_nothing_left();
}

/// A folder on a shared mount of its own, which goes with it.
struct Shared(PathBuf);

impl Shared {
    fn new(project: &Project, name: &str) -> Self {
        use nix::mount::{MsFlags, mount};
        let folder = project.folder.join(name);
        fs::create_dir_all(folder.join("before")).unwrap();
        mount(Some(&folder), &folder, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        mount(None::<&str>, &folder, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        Self::memory(&folder.join("before"));
        Self(folder)
    }

    fn memory(at: &Path) {
        fs::create_dir_all(at).unwrap();
        nix::mount::mount(Some("tmpfs"), at, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)
            .unwrap();
        fs::write(at.join("file"), "").unwrap();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let path = CString::new(self.0.as_os_str().as_encoded_bytes()).unwrap();
        let _ = nix::mount::umount2(path.as_c_str(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn mounts_pass_between_host_and_container_where_they_are_to() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes:
      - ./shared:/private
      - ./shared:/slave:rslave
      - ./shared:/shared:rshared
      - {type: bind, source: ./shared, target: /alone, bind: {recursive: disabled}}
      - {type: bind, source: ./shared, target: /writable, read_only: true, bind: {recursive: writable}}
      - {type: bind, source: ./shared, target: /readonly, read_only: true, bind: {recursive: readonly}}
"#;
    let project = Project::new("propagation", file);
    let shared = Shared::new(&project, "shared");
    project.ok(&["up", "-d"]);
    Shared::memory(&shared.0.join("after"));
    let seen = project.ok(&["exec", "-T", "one", "sh", "-c", "ls -d /*/before/file /*/after/file"]);
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!(
        seen,
        [
            "/private/before/file",
            "/readonly/before/file",
            "/shared/after/file",
            "/shared/before/file",
            "/slave/after/file",
            "/slave/before/file",
            "/writable/before/file"
        ]
    );
    let write = |target: &str| {
        text(&project.run(&["exec", "-T", "one", "sh", "-c", &format!("echo x > /{target}")]).stderr)
            .contains("Read-only")
    };
    assert_eq!(
        [write("writable/x"), write("writable/before/x"), write("readonly/x"), write("readonly/before/x")],
        [true, false, true, true]
    );
    project.ok(&["down", "-t", "0"]);
    drop(shared);
    project.assert_nothing_left();
    // What is on no shared mount cannot be passed on.
    let (code, message) = project.fails(&["up", "-d"]);
    assert!(
        code == 1 && message.contains("no shared mount") && message.contains("compose.yaml:9:"),
        "{message}"
    );
    project.assert_nothing_left();
}

#[test]
fn volumes_of_others_have_to_be_there() {
    let name = format!("composer-e2e-external-{}", std::process::id());
    let file = format!(
        "services: {{one: {{x-rootfs: @busybox@, command: sleep 1000, volumes: ['data:/data']}}}}\nvolumes: {{data: {{external: true, name: {name}}}}}\n"
    );
    let project = Project::new("external-volume", &file);
    let (code, message) = project.fails(&["up", "-d"]);
    assert!(
        code == 1
            && message.contains(&format!("compose volume create {name}"))
            && message.contains("compose.yaml:2:"),
        "{message}"
    );
    project.assert_nothing_left();
    assert_eq!(project.ok(&["volume", "create", "--label", "a=b", &name]), format!("{name}\n"));
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "one", "sh", "-c", "echo kept > /data/file"]);
    let (_, message) = project.fails(&["volume", "rm", &name]);
    assert!(message.contains("in use") && message.contains("one-1"), "{message}");
    project.ok(&["down", "-v", "-t", "0"]);
    project.assert_nothing_left();
    assert_eq!(
        fs::read_to_string(Path::new("/var/lib/compose/volumes").join(&name).join("file")).unwrap(),
        "kept\n"
    );
    assert_eq!(project.ok(&["volume", "rm", &name]), format!("{name}\n"));
}

/// The processes that have something open below a folder.
pub fn holders(folder: &Path) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let holds = |pid: &i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|open| open.starts_with(folder))
    };
    pids.filter(holds).collect()
}

#[test]
fn a_copy_is_killed_in_its_middle() {
    use rustix::fs::inotify;
    let root = root("killed");
    // Long enough to be met in its middle.
    fs::File::create(root.join("data/deep/large")).unwrap().set_len(256 << 20).unwrap();
    let project =
        Project::new("copy-killed", &file(&root, "    volumes: ['data:/data']\nvolumes: {data: }\n"));
    let name = format!("{}_data", project.name);
    project.ok(&["volume", "create", &name]);
    let data = volume(&project, "data");
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &data, inotify::WatchFlags::CREATE).unwrap();
    let up = project.command(&["up", "-d"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    assert_eq!(events.next().unwrap().file_name().unwrap().to_bytes(), b".compose-filling");
    let holders = holders(&data);
    assert!(!holders.is_empty());
    for pid in holders {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    // Where its network is not plugged in yet, the command fails and takes the container back; else that has ended.
    if up.wait_with_output().unwrap().status.success() {
        project.ends("one");
    }
    assert!(data.join(".compose-filling").exists());
    project.ok(&["up", "-d"]);
    assert_eq!(fs::metadata(data.join("deep/large")).unwrap().len(), 256 << 20);
    assert_eq!(fs::read_dir(data.join("deep")).unwrap().count(), 3);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 5);
    project.down();
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_volume_that_another_stack_has_is_kept() {
    let first = Project::new(
        "keeps",
        "services: {one: {x-rootfs: @busybox@, command: sleep 1000, volumes: ['data:/data']}}\nvolumes: {data: }\n",
    );
    first.ok(&["up", "-d"]);
    let name = format!("{}_data", first.name);
    let second = format!(
        "services: {{two: {{x-rootfs: @busybox@, command: sleep 1000, volumes: ['data:/data']}}}}\nvolumes: {{data: {{external: true, name: {name}}}}}\n"
    );
    let second = Project::new("keeps-other", &second);
    second.ok(&["up", "-d"]);
    let output = first.run(&["down", "-v", "-t", "0"]);
    let message = text(&output.stderr);
    assert!(
        output.status.success() && message.contains("it is kept") && message.contains("two-1"),
        "{message}"
    );
    second.ok(&["exec", "-T", "two", "sh", "-c", "echo x > /data/file"]);
    second.down();
    assert_eq!(first.ok(&["volume", "rm", &name]), format!("{name}\n"));
    first.assert_nothing_left();
}

#[test]
fn volumes_are_managed_as_dockers_are() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes: ['data:/data', {type: volume, target: /anonymous, volume: {labels: {purpose: scratch}}}]
  two: {x-rootfs: @busybox@, command: sleep 1000, volumes: ['other:/other']}
volumes:
  data: {labels: {team: blue}}
  other: {driver_opts: {type: tmpfs, device: tmpfs}}
"#;
    let project = Project::new("managed", file);
    project.ok(&["up", "-d"]);
    let name = |key: &str| format!("{}_{key}", project.name);
    let ours = |args: &[&str]| {
        let lines = project.ok(args);
        let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        lines.retain(|line| line.contains(&project.name));
        lines
    };
    assert_eq!(ours(&["volume", "ls", "-q"]), [name("data"), name("other")]);
    assert_eq!(ours(&["volume", "ls", "-q", "--filter", "label=team=blue"]), [name("data")]);
    assert_eq!(ours(&["volume", "ls", "-q", "--filter", "dangling=true"]), [] as [String; 0]);
    let table = project.ok(&["volumes"]);
    assert!(
        table.starts_with("DRIVER") && table.contains("VOLUME NAME") && table.contains(&name("data")),
        "{table}"
    );
    // With the one that nobody has named.
    let of_one: Vec<String> = project.ok(&["volumes", "-q", "one"]).lines().map(str::to_owned).collect();
    assert_eq!((of_one.len(), of_one.contains(&name("data"))), (2, true));
    let anonymous = of_one.iter().find(|volume| **volume != name("data")).unwrap();
    assert_eq!(anonymous.len(), 64);
    let shown = project.ok(&["volume", "inspect", &name("data"), &name("other"), anonymous]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Labels"]["team"], "blue");
    assert_eq!(shown[0]["Labels"]["com.docker.compose.project"], project.name.as_str());
    assert_eq!(shown[0]["Mountpoint"], volume(&project, "data").to_str().unwrap());
    assert_eq!((&shown[0]["Options"], &shown[0]["Driver"]), (&serde_json::Value::Null, &"local".into()));
    assert_eq!(shown[1]["Options"]["type"], "tmpfs");
    assert!(fs::read_dir(shown[1]["Mountpoint"].as_str().unwrap()).is_ok());
    assert_eq!(shown[2]["Labels"]["purpose"], "scratch");
    let json =
        project.ok(&["volume", "ls", "--format", "json", "--filter", &format!("name={}", name("data"))]);
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&line["Name"], &line["Size"]), (&name("data").into(), &"N/A".into()));
    // What is in use stays, whoever asks.
    let (_, message) = project.fails(&["volume", "rm", &name("data")]);
    assert!(message.contains("in use by") && message.contains("one-1"), "{message}");
    let (_, message) = project.fails(&["volume", "inspect", "no-such-volume"]);
    assert!(message.contains("volume no-such-volume not found"), "{message}");
    let (_, message) = project.fails(&["volume", "create", "-o", "type=nfs", "x"]);
    assert!(message.contains("needs a `device`"), "{message}");
    let (_, message) =
        project.fails(&["volume", "create", "-o", "type=none", "-o", "device=/", &name("data")]);
    assert!(message.contains("other options"), "{message}");
    project.ok(&["down", "-t", "0"]);
    // Volumes of others that nobody has named may be in the way of no test.
    let label = format!("of={}", project.name);
    let made = project.ok(&["volume", "create", "--label", &label]);
    assert_eq!(made.trim_end().len(), 64);
    let filter = format!("label={label}");
    let pruned = project.ok(&["volume", "prune", "-f", "--filter", &filter]);
    assert!(pruned.contains(made.trim_end()) && pruned.contains("Total reclaimed space: 0B"), "{pruned}");
    fs::write(volume(&project, "data").join("file"), "12345").unwrap();
    assert!(!project.ok(&["volume", "prune", "-f", "--filter", "label=team=blue"]).contains(&name("data")));
    let filter = format!("label=com.docker.compose.project={}", project.name);
    let asked = project.ok(&["volume", "prune", "-a", "--filter", &filter]);
    assert!(asked.contains("(y/N)") && volume(&project, "data").exists(), "{asked}");
    let pruned = project.ok(&["volume", "prune", "-a", "-f", "--filter", &filter]);
    assert!(pruned.contains(&name("other")) && pruned.contains("Total reclaimed space: 5B"), "{pruned}");
    project.ok(&["volume", "rm", "-f", &name("data")]);
    project.assert_nothing_left();
}

#[test]
fn an_empty_volume_gets_what_the_hosts_root_shows() {
    let file = r#"
services:
  one: {x-rootfs: host, command: sleep 1000, volumes: ['data:/etc/default']}
volumes: {data: }
"#;
    let project = Project::new("host-fill", file);
    project.ok(&["up", "-d"]);
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    // Without what is hidden from containers.
    let (copied, all) = (names(&volume(&project, "data")), names(Path::new("/etc/default")));
    assert!(copied.contains(&"useradd".into()) && copied.iter().all(|name| all.contains(name)), "{copied:?}");
    project.down();
}

#[test]
fn a_volume_keeps_the_options_that_it_was_made_with() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000, volumes: ['data:/data']}}\nvolumes: {data: }\n";
    let project = Project::new("kept-options", file);
    project.ok(&["up", "-d"]);
    project.write(
        "compose.yaml",
        &file.replace("data: }", "data: {driver_opts: {type: tmpfs, device: tmpfs}}}"),
    );
    let output = project.run(&["up", "-d"]);
    let message = text(&output.stderr);
    assert!(output.status.success() && message.contains("other `driver_opts`"), "{message}");
    project.down();
}
