//! Images that are made to lead out of their container.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use rustix::fs::inotify;
use serde_json::json;

use crate::layout::Layout;
use crate::stack::{Project, busybox, text};
use crate::volumes::{holders, volume};

/// A project with one service `a` of this image, which sleeps where nothing else is said.
fn project(name: &str, rest: &str, image: &Layout) -> Project {
    let file = format!(
        "services:\n  a:\n    image: oci:./image\n    command: sleep 1000\n    network_mode: none\n{rest}"
    );
    let project = Project::new(&format!("hostile-{name}"), &file);
    image.write(&project.folder.join("image"));
    project
}

/// Takes the project down, and its image out of the store.
fn down(project: Project) {
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", &format!("oci:{}", project.folder.join("image").display())]);
    project.down();
}

#[test]
fn what_the_kernel_shows_is_mounted_where_it_is_masked() {
    type Links = [(&'static str, &'static str)];
    let links: [(&str, &str, &Links); 6] = [
        ("proc", "of-dev", &[("proc", "/dev/L"), ("dev/L", "/p")]),
        ("proc", "of-sys", &[("proc", "/sys/L"), ("sys/L", "/p")]),
        ("proc", "to-root", &[("proc", "/")]),
        ("proc", "to-folder", &[("proc", "p")]),
        ("sys", "of-sys", &[("sys", "/dev/L"), ("dev/L", "/p")]),
        ("dev", "of-dev", &[("dev", "p")]),
    ];
    for (place, how, links) in links {
        let name = format!("{place}-{how}");
        let image = Layout::busybox(&name).layer(&[("p/", "")]).links(links);
        let project = project(&name, "", &image);
        let (code, message) = project.fails(&["up", "-d"]);
        let told = format!("/{place} of the root filesystem is a file or a symbolic link");
        assert!(code == 1 && message.contains(&told), "{name}: {code} {message}");
        down(project);
    }
    let image = Layout::busybox("proc-file").layer(&[("proc", "")]);
    let project = project("proc-file", "", &image);
    let (_, message) = project.fails(&["up", "-d"]);
    assert!(message.contains("/proc of the root filesystem is a file"), "{message}");
    down(project);
}

#[test]
fn no_user_of_an_image_becomes_root() {
    let passwd = "root:x:0:0::/root:/bin/sh\nhigh:x:4294967295:4294967295::/:/bin/sh\nin:x:7:7::/:/bin/sh\n";
    let files = [("etc/passwd", passwd), ("etc/group", "high:x:4294967295:in\n")];
    let image = Layout::busybox("user").layer(&files).config(json!({"User": "4294967295"}));
    let project = project("user", "", &image);
    let (_, message) = project.fails(&["up", "-d"]);
    assert!(message.contains("user id 4294967295 is too high: ids go from 0 to 2147483647"), "{message}");
    project.ok(&["down", "-t", "0"]);
    let file = fs::read_to_string(project.folder.join("compose.yaml")).unwrap();
    project.write("compose.yaml", &format!("{file}    user: '2147483647:2147483647'\n"));
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "id", "-u"]), "2147483647\n");
    for user in ["4294967295", "high", "in", "0:4294967295", "0:high"] {
        let (_, message) = project.fails(&["exec", "-T", "-u", user, "a", "id"]);
        assert!(message.contains("id 4294967295 is too high"), "{user}: {message}");
    }
    down(project);
}

#[test]
fn a_link_in_the_way_of_a_copy_leads_nothing_of_the_hosts_into_the_volume() {
    const FOLDERS: usize = 16;
    const LARGE: u64 = 16 << 20;
    let project = Project::new(
        "hostile-copy",
        "services: {one: {x-rootfs: ./root, command: sleep 1000, network_mode: none, volumes: ['data:/v']}}\nvolumes: {data: }",
    );
    let root = project.folder.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy(busybox().join("bin/busybox"), root.join("bin/sleep")).unwrap();
    for number in 0..FOLDERS {
        let folder = root.join(format!("v/d{number}"));
        fs::create_dir_all(&folder).unwrap();
        // Long enough to be met in its middle.
        fs::File::create(folder.join("large")).unwrap().set_len(LARGE).unwrap();
        match number {
            0 => fs::write(folder.join("file"), "the image's").unwrap(),
            _ => fs::hard_link(root.join("v/d0/file"), folder.join("file")).unwrap(),
        }
    }
    let host = project.folder.join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "the host's").unwrap();

    let data = volume(&project, "data");
    let part = data.join(".compose-filling");
    project.ok(&["volume", "create", &format!("{}_data", project.name)]);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &data, inotify::WatchFlags::CREATE).unwrap();
    let up = project.command(&["up", "-d"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut next = || {
        let is_there = !events.is_buffer_empty();
        let ready = is_there
            || poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], PollTimeout::from(30_000_u16))
                == Ok(1);
        assert!(ready, "nothing is copied");
        events.next().unwrap().file_name().unwrap().to_owned()
    };
    assert_eq!(next().to_bytes(), b".compose-filling");
    let copying = holders(&data);
    assert_eq!(copying.len(), 1, "who copies");
    // However late we come to run on a busy machine, it is later.
    for task in fs::read_dir(format!("/proc/{}/task", copying[0])).unwrap().flatten() {
        let task = task.file_name().to_str().and_then(|task| task.parse().ok());
        let _ = rustix::process::setpriority_process(task.and_then(rustix::process::Pid::from_raw), 19);
    }
    let copying = Pid::from_raw(copying[0]);
    inotify::add_watch(&watch, &part, inotify::WatchFlags::CREATE).unwrap();
    // As a container would that has the volume already: once a second folder is begun, the first is whole. The copy
    // stands still meanwhile.
    while fs::read_dir(&part).unwrap().count() < 2 {
        next();
    }
    signal::kill(copying, Signal::SIGSTOP).unwrap();
    let begun: Vec<_> = fs::read_dir(&part).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(begun.len() < FOLDERS, "the copy was over");
    let is_whole = |folder: &PathBuf| {
        fs::metadata(folder.join("large")).is_ok_and(|large| large.len() == LARGE)
            && folder.join("file").exists()
    };
    let whole: Vec<_> = begun.into_iter().filter(is_whole).collect();
    assert!(!whole.is_empty());
    for folder in whole {
        fs::rename(&folder, data.join(folder.file_name().unwrap()).with_extension("old")).unwrap();
        symlink(&host, folder).unwrap();
    }
    signal::kill(copying, Signal::SIGCONT).unwrap();
    let up = up.wait_with_output().unwrap();
    assert!(up.status.success(), "{}", text(&up.stderr));

    assert_eq!(
        fs::metadata(host.join("file")).unwrap().nlink(),
        1,
        "the host's file has a name in the volume"
    );
    for number in 0..FOLDERS {
        let folder = data.join(format!("d{number}"));
        if !folder.is_symlink() {
            assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "the image's");
        }
    }
    project.down();
}

#[test]
fn what_lies_over_proc_neither_stops_a_start_nor_is_written() {
    let rest = "    oom_score_adj: 321\n    ulimits: {nofile: {soft: 9, hard: 99}}\n    volumes: ['over:/p']\nvolumes: {over: {}}\n";
    let image = Layout::busybox("over-proc").links(&[("p", "proc")]);
    let project = project("over-proc", rest, &image);
    project.ok(&["volume", "create", &format!("{}_over", project.name)]);
    let over = volume(&project, "over");
    for place in ["self", "sys/fs"] {
        fs::create_dir_all(over.join(place)).unwrap();
    }
    for fifo in ["self/oom_score_adj", "sys/fs/nr_open"] {
        mkfifo(&over.join(fifo), Mode::S_IRWXU).unwrap();
    }
    project.ok(&["up", "-d"]);
    let pid = project.field("a", "Pid");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "321\n");
    // A file there stays what it is.
    fs::remove_file(over.join("self/oom_score_adj")).unwrap();
    fs::write(over.join("self/oom_score_adj"), "mine").unwrap();
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/proc/self/oom_score_adj"]), "mine");
    down(project);
}
