//! What containers and images may ask too much of: folders without end, ports, probes, names.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use serde_json::{Map, json};

use crate::layout::Layout;
use crate::stack::Project;

/// Folders in each other, as deep, below a folder of a container, through its own root filesystem.
fn deepen(pid: &serde_json::Value, folder: &str, depth: u32) {
    let mut at = OwnedFd::from(File::open(format!("/proc/{pid}/root{folder}")).unwrap());
    for _ in 0..depth {
        mkdirat(&at, c"d", Mode::RWXU).unwrap();
        at = openat(&at, c"d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn folders_deeper_than_paths_and_descriptors_go() {
    let file = "services:\n  a: {x-rootfs: '@busybox@', command: sleep 1000, volumes: [/own, named:/named]}\nvolumes: {named: {}}\n";
    let project = Project::new("excess-deep", file);
    // Fewer descriptors than there are levels, for both processes behind the stack.
    let up = project.command(&["up", "-d"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 2048 && exec \"$@\"", "sh"]).arg(up.get_program()).args(up.get_args());
    assert!(limited.current_dir(&project.folder).output().unwrap().status.success());
    let pid = project.field("a", "Pid");
    for folder in ["/tmp", "/own", "/named"] {
        deepen(&pid, folder, 3_000);
    }
    // Made anew, with another volume without a name.
    project.ok(&["up", "-d", "--force-recreate", "-V", "-t", "0"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "ls", "/tmp", "/own"]), "/own:\n\n/tmp:\n");
    deepen(&project.field("a", "Pid"), "/tmp", 3_000);
    project.down();
}

/// A project of the image `oci:./image`.
fn of_image(name: &str, image: &Layout) -> Project {
    let project = Project::new(name, "services:\n  a: {image: 'oci:./image', network_mode: none}\n");
    image.write(&project.folder.join("image"));
    project
}

/// Takes the project down, and what it has put into the store.
fn down(project: Project) {
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", &format!("oci:{}", project.folder.join("image").display())]);
    project.down();
}

#[test]
fn ranges_of_ports_that_lie_over_each_other_are_one() {
    let mut ports = Map::new();
    for first in 1..400 {
        ports.insert(format!("{first}-65535/udp"), json!({}));
    }
    for no_port in ["99999/tcp", "80/foo", "x", "80-70/tcp", "0/tcp", "80; echo"] {
        ports.insert(no_port.to_owned(), json!({}));
    }
    let image = Layout::busybox("excess-ports");
    let project =
        of_image("excess-ports", &image.config(json!({"Cmd": ["sleep", "1000"], "ExposedPorts": ports})));
    project.ok(&["up", "-d"]);
    let container = &project.containers()[0];
    assert_eq!(container["Ports"], "1-65535/udp");
    assert_eq!(container["Publishers"].as_array().unwrap().len(), 65535);
    down(project);
}

#[test]
fn pipes_and_devices_in_an_images_place_are_not_waited_for() {
    let image = Layout::busybox("excess-pipes");
    let project = of_image("excess-pipes", &image);
    let folder = project.folder.join("image");
    let refused = |path: &Path, pull: &str, what: &str| {
        let (_, error) = project.fails(&["image", "pull", pull]);
        let text = format!("{} cannot be used: it is {what}, not a file", path.display());
        assert!(error.contains(&text), "{error}");
    };
    let layer = fs::read_dir(folder.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let layer = layer.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    for path in [layer, folder.join("index.json"), folder.join("archive")] {
        let pull = if path.ends_with("archive") { "oci-archive:./image/archive" } else { "oci:./image" };
        let _ = fs::remove_file(&path);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused(&path, pull, "a named pipe");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused(&path, pull, "a device");
    }
    project.down();
}

#[test]
fn an_images_probes_have_a_pause_between_them() {
    let script = "until test -e /tmp/probes && test $(wc -l < /tmp/probes) -ge 6; do sleep 0.05; done; cat /tmp/probes";
    let image = Layout::busybox("excess-probes").config(json!({
        "Cmd": ["sh", "-c", script],
        // Seconds, with two digits behind the point (proc_uptime(5)).
        "Healthcheck": {"Test": ["CMD-SHELL", "cut -d ' ' -f 1 /proc/uptime >> /tmp/probes"],
            "Interval": 1, "StartInterval": 1, "Timeout": 10_000_000_000_i64},
    }));
    let project = of_image("excess-probes", &image);
    project.ok(&["up", "-d"]);
    project.ends("a");
    let log = project.ok(&["logs", "--no-log-prefix", "a"]);
    let times: Vec<f64> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert!(times.len() >= 6 && times.windows(2).all(|pair| pair[1] - pair[0] > 0.085), "{times:?}");
    down(project);
}

#[test]
fn what_an_image_calls_things_is_one_line() {
    let entrypoint = json!({"Entrypoint": ["/x\u{1b}[2J\nerror: all is well"]});
    let project = of_image("excess-lines", &Layout::busybox("excess-lines").config(entrypoint));
    let (code, error) = project.fails(&["up", "-d"]);
    assert!(code == 127 && !error.lines().any(|line| line == "error: all is well"), "{error}");
    assert!(error.contains(r"run /x\u{1b}[2J\nerror: all is well: no such file in the container"), "{error}");
    let system = json!({"os": "linux\nerror: all is well"});
    Layout::busybox("excess-lines").document(system).write(&project.folder.join("other"));
    let (_, error) = project.fails(&["image", "pull", "oci:./other"]);
    assert!(error.contains(r"linux\nerror: all is well/"), "{error}");
    down(project);
}
