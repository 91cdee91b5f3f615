//! The filesystems that state and volumes are on: `storage_opt: {size: …}` where there are project quotas and where there
//! are none, and a disk of volumes' own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::disk::Disk;
use crate::stack::{Project, text};

const STATE: &str = "/var/lib/compose";
const FILE: &str = "services:
  one: {x-rootfs: '@busybox@', command: sleep 1000, network_mode: none, storage_opt: {size: 10m}, volumes: [/own]}
  two: {x-rootfs: '@busybox@', command: sleep 1000, network_mode: none, storage_opt: {size: 20m}, x-userns: auto}
  host:
    x-rootfs: host
    command: sleep 1000
    network_mode: none
    storage_opt: {size: 12m}
    pre_start: [{command: [sh, -c, 'dd if=/dev/zero of=/tmp/big bs=1M count=20 2>/dev/null; stat -c %s /tmp/big']}]
";

/// A place for the state of stacks that this thread has for itself and those whom it starts, to mount at.
struct Apart {
    /// Keeps others from removing the folder, and with it the mount.
    mark: PathBuf,
}

impl Apart {
    fn new(name: &str) -> Self {
        let mark = Path::new(STATE).join(format!("e2e-{name}-{}", std::process::id()));
        fs::create_dir_all(&mark).unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        Self { mark }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = umount2(STATE, MntFlags::empty());
        let _ = fs::remove_dir(&self.mark);
    }
}

/// A filesystem of this kind there; whether it has project quotas.
struct Mounted {
    kind: &'static str,
    // Unmounted before the disk goes.
    _apart: Apart,
    disk: Disk,
}

impl Mounted {
    fn new(kind: &'static str) -> (Self, bool) {
        let mounted = Self { kind, _apart: Apart::new(kind), disk: Disk::new(kind, 400 << 20) };
        let with: &[&str] =
            if kind == "ext4" { &["-O", "quota,project", "-E", "quotatype=prjquota"] } else { &[] };
        mounted.make(with);
        let counts = mounted.mount(Some("prjquota"));
        if let Err(error) = &counts {
            // The kernels of some hosts cannot count. Those of the lane that is there for this can.
            assert!(std::env::var_os("COMPOSER_QUOTAS").is_none(), "{kind}: {error}");
            mounted.make(&[]);
            mounted.mount(None).unwrap();
        }
        (mounted, counts.is_ok())
    }

    fn make(&self, options: &[&str]) {
        let mut make = match self.kind {
            "ext4" => Command::new("mke2fs"),
            _ => Command::new("mkfs.xfs"),
        };
        make.args(if self.kind == "ext4" { ["-q", "-F", "-t", "ext4"].as_slice() } else { &["-q", "-f"] });
        let made = make.args(options).arg(&self.disk.path).output().unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
    }

    fn mount(&self, options: Option<&str>) -> nix::Result<()> {
        mount(Some(self.disk.path.as_str()), STATE, Some(self.kind), MsFlags::empty(), options)
    }
}

fn sh(project: &Project, service: &str, script: &str) -> String {
    project.ok(&["exec", "-T", service, "sh", "-c", script])
}

/// The size of the root filesystem as a container sees it.
const SEEN: &str = "df -k / | tail -1 | tr -s ' ' | cut -d' ' -f2";

/// The project of a container's files.
fn id(project: &Project, service: &str) -> u32 {
    let name = project.field(service, "Name").as_str().unwrap().to_owned();
    let upper =
        Path::new(STATE).join("stacks").join(&project.name).join("containers").join(name).join("upper");
    let listed = Command::new("lsattr").arg("-pd").arg(&upper).output().unwrap();
    text(&listed.stdout).split_whitespace().next().unwrap().parse().unwrap()
}

/// Of the kind `kind`, in a thread of its own: it has a mount namespace of its own.
fn on(kind: &'static str) {
    std::thread::spawn(move || {
        let (mounted, counts) = Mounted::new(kind);
        let project = Project::new(&format!("storage-{kind}"), FILE);
        if counts { enforced(project, &mounted) } else { refused(project) }
    })
    .join()
    .unwrap();
}

fn enforced(project: Project, mounted: &Mounted) {
    project.ok(&["up", "-d"]);
    let first = id(&project, "one").min(id(&project, "two")).min(id(&project, "host"));
    for (service, size) in [("one", 10), ("two", 20), ("host", 12)] {
        assert_eq!(sh(&project, service, SEEN), format!("{}\n", size * 1024), "{service}");
        // What is copied up from a lower layer moves between folders of one project.
        sh(&project, service, "echo more >> /etc/group && mkdir /tmp/a && mv /tmp/a /etc/a");
        let fill = "dd if=/dev/zero of=/tmp/big bs=1M count=40 && echo all; stat -c %s /tmp/big";
        let output = project.run(&["exec", "-T", service, "sh", "-c", fill]);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(error.contains("No space left") || error.contains("quota exceeded"), "{service}: {error}");
        let written: u64 = out.trim().parse().unwrap();
        assert!(written <= size << 20 && written > (size - 2) << 20, "{service}: {written}");
        assert_eq!(sh(&project, service, "rm /tmp/big && echo x > /tmp/small && cat /tmp/small"), "x\n");
    }
    // A step that prepares it counts too.
    let logged = project.ok(&["logs", "--no-log-prefix", "host"]);
    let step = logged.split_whitespace().last().and_then(|word| word.parse().ok());
    assert!(step.is_some_and(|step: u64| step <= 12 << 20), "{logged}");
    // Volumes do not count, and nobody inside gets a file out of what is counted.
    sh(&project, "one", "head -c 12m /dev/zero > /own/big");
    let output = project.run(&["exec", "-T", "host", "chattr", "-p", "0", "/tmp/small"]);
    let error = text(&output.stderr);
    assert!(error.contains("not permitted"), "{error}");
    // Each has an id of its own, and keeps its limit when it is started anew.
    let ids = |project: &Project| ["one", "two", "host"].map(|service| id(project, service));
    let before = ids(&project);
    assert!(before[0] != before[1] && before[1] != before[2] && before[0] != before[2], "{before:?}");
    project.ok(&["restart", "-t", "0"]);
    assert_eq!(ids(&project), before);
    assert_eq!(sh(&project, "one", &format!("echo more >> /etc/passwd; {SEEN}")), "10240\n");
    assert_eq!(project.ok(&["run", "--rm", "-T", "one", "sh", "-c", SEEN]), "10240\n");
    project.write("compose.yaml", &FILE.replace("10m", "16m"));
    project.ok(&["up", "-d", "-t", "0"]);
    assert_eq!(sh(&project, "one", SEEN), "16384\n");
    project.ok(&["down", "-v", "-t", "0"]);
    // Nothing of it is left in the kernel's table: the first id is free again.
    umount2(STATE, MntFlags::empty()).unwrap();
    mounted.mount(Some("prjquota")).unwrap();
    project.ok(&["up", "-d", "one"]);
    assert_eq!(id(&project, "one"), first);
    project.ok(&["down", "-v", "-t", "0"]);
    project.down();
}

fn refused(project: Project) {
    let (code, error) = project.fails(&["up", "-d", "one"]);
    assert_eq!(code, 1);
    assert!(
        error.contains("limit what it writes to 10 MiB") && error.contains("no project quotas"),
        "{error}"
    );
    assert!(error.contains("compose.yaml:2:") && error.contains("prjquota"), "{error}");
    project.ok(&["down", "-v"]);
    project.down();
}

#[test]
fn xfs() {
    on("xfs");
}

#[test]
fn ext4() {
    on("ext4");
}

/// Volumes are on a disk of their own.
#[test]
fn what_nobody_has_named_is_left_from_another_filesystem_too() {
    std::thread::spawn(|| {
        let _apart = Apart::new("left");
        let memory = |at: &Path| {
            fs::create_dir_all(at).unwrap();
            mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        };
        memory(Path::new(STATE));
        let volumes = Path::new(STATE).join("volumes");
        memory(&volumes);
        let file = "services: {one: {x-rootfs: '@busybox@', command: sleep 1000, network_mode: none, volumes: [/own]}}\n";
        let project = Project::new("storage-left", file);
        for word in ["first", "second"] {
            project.ok(&["up", "-d"]);
            sh(&project, "one", &format!("echo {word} > /own/file"));
            project.ok(&["down", "-t", "0"]);
        }
        let left = project.left_volumes();
        let words: BTreeSet<String> =
            left.iter().map(|name| fs::read_to_string(volumes.join(name).join("file")).unwrap()).collect();
        assert_eq!(words, BTreeSet::from(["first\n".to_owned(), "second\n".to_owned()]));
        // By its name it is a volume as any other.
        let more = format!("volumes: {{left: {{external: true, name: {}}}}}\n", left[0]);
        project.write("compose.yaml", &(file.replace("/own", "'left:/own'") + &more));
        project.ok(&["up", "-d"]);
        assert!(words.contains(&sh(&project, "one", "cat /own/file")));
        project.ok(&["down", "-v", "-t", "0"]);
        project.ok(&["volume", "rm", &left[0], &left[1]]);
        assert_eq!(fs::read_dir(&volumes).unwrap().count(), 0);
        assert!(!Path::new(STATE).join("linked-volumes").exists());
        project.down();
        umount2(&volumes, MntFlags::empty()).unwrap();
    })
    .join()
    .unwrap();
}
