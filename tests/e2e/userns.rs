//! `x-userns: auto`: root inside is nobody outside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::layout::Layout;
use crate::registry::Registry;
use crate::stack::{Project, text};
use crate::volumes::volume;

/// As many ids as a container has.
const COUNT: u32 = 65536;

fn pid(project: &Project, service: &str) -> i64 {
    project.field(service, "Pid").as_i64().unwrap()
}

/// The first of a container's ids on the host, by what the kernel says of its first process.
fn first_id(project: &Project, service: &str) -> u32 {
    let pid = pid(project, service);
    let map = |file: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let ids: Vec<u32> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        assert_eq!((ids.len(), ids[0], ids[2]), (3, 0, COUNT), "{text}");
        ids[1]
    };
    assert_eq!(map("uid_map"), map("gid_map"));
    map("uid_map")
}

/// Owner and group of a file, as the host has them on disk.
fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

fn upper(project: &Project, service: &str) -> PathBuf {
    let name = project.field(service, "Name").as_str().unwrap().to_owned();
    Path::new("/var/lib/compose/stacks").join(&project.name).join("containers").join(name).join("upper")
}

#[test]
fn root_inside_is_root_on_what_it_mounts_and_nobody_elsewhere() {
    let file = "services:
  one:
    x-rootfs: '@busybox@'
    command: sleep 1000
    x-userns: auto
    volumes: ['data:/data', './shared:/shared', /own]
    tmpfs: [/memory]
    secrets: [{source: word, uid: '1000', gid: '1500', mode: 0400}]
volumes: {data: {}}
secrets: {word: {file: ./word}}
";
    let project = Project::new("userns", file);
    project.write("word", "secret\n");
    let shared = project.folder.join("shared");
    fs::create_dir(&shared).unwrap();
    // Nobody but root of the host may read or write these two.
    for file in [shared.join("own"), project.folder.join("other")] {
        fs::write(&file, "root's\n").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    project.ok(&["up", "-d"]);
    let sh = |script: &str| project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    let first = first_id(&project, "one");
    assert!((0x7000_0000..0x7ffe_0000).contains(&first), "{first}");
    assert_eq!(sh("id -u; id -g; cat /shared/own"), "0\n0\nroot's\n");
    // The host sees another user.
    let status = fs::read_to_string(format!("/proc/{}/status", pid(&project, "one"))).unwrap();
    assert!(status.contains(&format!("Uid:\t{first}\t{first}\t{first}\t{first}\n")), "{status}");
    sh(
        "for at in /data /shared /own /memory /root-file; do echo x > $at/file 2>/dev/null || echo x > $at; done",
    );
    sh("chown 1000:1500 /data/file /root-file && touch /data/second");
    assert_eq!(
        sh("stat -c '%u:%g' /data/file /data/second /shared/own /memory/file /"),
        "1000:1500\n0:0\n0:0\n0:0\n0:0\n"
    );
    // On disk all of it is as if there were no user namespace.
    let data = volume(&project, "data");
    assert_eq!((owner(&data.join("file")), owner(&data.join("second"))), ((1000, 1500), (0, 0)));
    assert_eq!(owner(&shared.join("file")), (0, 0));
    assert_eq!(owner(&upper(&project, "one").join("root-file")), (1000, 1500));
    // A secret, a terminal, devices and standard streams are those of the users inside.
    assert_eq!(sh("stat -c '%u:%g %a' /run/secrets/word"), "1000:1500 400\n");
    assert_eq!(sh("echo x > /dev/null && head -c 3 /dev/zero | wc -c && echo out > /dev/stdout"), "3\nout\n");
    assert_eq!(
        project.ok(&[
            "exec",
            "-T",
            "-u",
            "1000:1500",
            "one",
            "sh",
            "-c",
            "id -u; cat /run/secrets/word; echo y > /dev/stderr"
        ]),
        "1000\nsecret\n"
    );
    // What is the host's stays closed: its own files, and what the kernel keeps for root.
    let denied = |command: &str| {
        let output = project.run(&["exec", "-T", "one", "sh", "-c", command]);
        assert!(!output.status.success(), "{command}: {}", text(&output.stdout));
    };
    denied("echo 1 > /proc/sys/vm/drop_caches");
    denied("echo x > /proc/sysrq-trigger");
    denied("mount -t tmpfs tmpfs /memory");
    let inside = |path: &Path| {
        let pid = pid(&project, "one").to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["--user", "--target", &pid, "cat"]).arg(path).output().unwrap()
    };
    let output = inside(&project.folder.join("other"));
    assert!(text(&output.stderr).contains("Permission denied"), "{output:?}");
    let output = project.run(&["exec", "-T", "-u", "70000", "one", "true"]);
    assert!(text(&output.stderr).contains("ids go from 0 to 65535"), "{output:?}");
    // It is another container's turn; each has ids of its own, and what is on disk is still root's inside.
    project.ok(&["up", "-d", "--force-recreate", "-t", "0"]);
    assert_eq!(sh("stat -c '%u:%g' /data/file /own/file"), "1000:1500\n0:0\n");
    project.down();
}

#[test]
fn each_container_has_ids_of_its_own_and_gives_them_back() {
    let file = "services:
  one: {x-rootfs: '@busybox@', command: sleep 1000, x-userns: auto, init: true, scale: 2}
  two: {x-rootfs: host, command: sleep 1000, x-userns: auto, user: nobody, network_mode: none}
  three: {x-rootfs: '@busybox@', tty: true, user: bob, x-userns: auto, command: [sh, -c, \"stat -c '%u:%g' $$(tty) /dev/console\"]}
";
    let project = Project::new("userns-ids", file);
    project.ok(&["up", "-d"]);
    let registry = Path::new("/run/compose/host/ids.json");
    let held = |service: &str| {
        let leases: serde_json::Value = serde_json::from_slice(&fs::read(registry).unwrap()).unwrap();
        let part = format!("{}-{service}-", project.name);
        let own = leases.as_array().unwrap().iter();
        let own = own.filter(|lease| lease["container"].as_str().unwrap().starts_with(&part));
        own.map(|lease| lease["first"].as_u64().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!((held("one").len(), held("two").len()), (2, 1));
    assert!(held("one").is_disjoint(&held("two")));
    let first = first_id(&project, "two");
    assert!(held("two").contains(&u64::from(first)));
    project.ends("three");
    let terminal = project.ok(&["logs", "--no-log-prefix", "three"]);
    assert_eq!(terminal.replace('\r', ""), "1000:5\n1000:5\n");
    // Its processes are the host's nobody's neighbours, shifted.
    let status = fs::read_to_string(format!("/proc/{}/status", pid(&project, "two"))).unwrap();
    assert!(status.contains(&format!("Uid:\t{}", first + 65534)), "{status}");
    let name = |service: &str| {
        project.ok(&["exec", "-T", service, "sh", "-c", "id -u; stat -c %u /usr/bin /etc/passwd"])
    };
    assert_eq!(name("two"), "65534\n0\n0\n");
    // None of the layers lies where the container could reach it.
    for service in ["one", "two"] {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", pid(&project, service))).unwrap();
        assert_eq!(mounts.matches("idmapped").count(), 0, "{mounts}");
    }
    // What it knows of its users survives those who run it.
    project.kill_processes("compose-keeper");
    project.kill_processes("compose-supervisor");
    assert_eq!(project.ok(&["exec", "-T", "one", "id", "-u"]), "0\n");
    project.ok(&["rm", "-sf", "two"]);
    assert_eq!((held("one").len(), held("two").len()), (2, 0));
    project.ok(&["up", "-d"]);
    assert_eq!(held("two").len(), 1);
    project.down();
}

#[test]
fn images_networks_probes_and_copies_work_in_it() {
    let image = Layout::busybox("userns").layer(&[("opt/", ""), ("opt/own", "of the image\n")]).config(json!({
        "Cmd": ["sh", "-c", "mkdir -p /www && echo served > /www/index.html && httpd -f -p 80 -h /www"],
        "Volumes": {"/opt": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", "wget -q -O - http://127.0.0.1/ >/dev/null"], "Interval": 100_000_000, "Retries": 1000},
    }));
    let file = "services:
  web: {image: 'oci:./image', x-userns: auto, sysctls: {net.ipv4.ip_default_ttl: '77'}, ports: ['127.0.0.1::80']}
  client:
    x-rootfs: '@busybox@'
    x-userns: auto
    command: wget -q -O - http://web/
    depends_on: {web: {condition: service_healthy}}
";
    let project = Project::new("userns-image", file);
    image.write(&project.folder.join("image"));
    project.ok(&["up", "-d"]);
    project.ends("client");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "client"]), "served\n");
    let sh = |script: &str| project.ok(&["exec", "-T", "web", "sh", "-c", script]);
    assert_eq!(
        sh("cat /opt/own; stat -c %u:%g /opt/own; cat /proc/sys/net/ipv4/ip_default_ttl"),
        "of the image\n1000:1000\n77\n"
    );
    // Files go in and out with the owners that they have inside, whether it runs or not.
    let outside = project.folder.join("file");
    fs::write(&outside, "copied\n").unwrap();
    for place in ["/www/copy", "/opt/copy"] {
        project.ok(&["cp", "file", &format!("web:{place}")]);
        assert_eq!(sh(&format!("cat {place}; stat -c %u:%g {place}")), "copied\n0:0\n");
    }
    sh("chown 1000:1500 /www/copy && touch /www/own && chmod 600 /www/copy");
    let listed = |project: &Project| {
        let output = project.command(&["cp", "web:/www", "-"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut archive = tar::Archive::new(output.stdout.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let (uid, gid) = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
            (entry.path().unwrap().display().to_string(), uid, gid)
        });
        entries.collect::<BTreeSet<_>>()
    };
    let running = listed(&project);
    assert!(running.contains(&("www/copy".to_owned(), 1000, 1500)), "{running:?}");
    assert!(running.contains(&("www/own".to_owned(), 0, 0)), "{running:?}");
    let exported = project.folder.join("out.tar");
    project.ok(&["export", "-o", exported.to_str().unwrap(), "web"]);
    project.ok(&["stop", "-t", "0"]);
    assert_eq!(listed(&project), running);
    let mut archive = tar::Archive::new(fs::File::open(exported).unwrap());
    let found = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap().ends_with("www/copy"));
    assert_eq!(found.unwrap().header().uid().unwrap(), 1000);
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", &format!("oci:{}", project.folder.join("image").display())]);
    project.down();
}

/// What an archive says of a file's owner, and of what its capabilities are worth.
fn described(archive: &[u8], path: &str) -> ((u64, u64), Vec<u8>) {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut found = entries.find(|entry| entry.path().unwrap() == Path::new(path)).unwrap();
    let owner = (found.header().uid().unwrap(), found.header().gid().unwrap());
    let extensions = found.pax_extensions().unwrap().into_iter().flatten().map(Result::unwrap);
    let mut capability =
        extensions.filter(|extension| extension.key() == Ok("SCHILY.xattr.security.capability"));
    (owner, capability.next().map(|extension| extension.value_bytes().to_vec()).unwrap_or_default())
}

#[test]
fn what_it_makes_is_its_own_in_images_and_archives() {
    let file = "services: {app: {image: '@registry@/python', x-userns: auto, command: sleep 1000}}\n";
    let registry = Registry::plain();
    let project = Project::new("userns-commit", &file.replace("@registry@", &registry.name));
    project.ok(&["up", "-d"]);
    // CAP_NET_BIND_SERVICE, permitted and effective, of revision 2: worth something to whoever runs it.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let script = format!(
        "import os\n\
         for name in 'made', 'program': open('/opt/' + name, 'w').close()\n\
         os.chown('/opt/made', 1000, 1500)\n\
         os.setxattr('/opt/program', 'security.capability', bytes({capability:?}))\n"
    );
    project.ok(&["exec", "-T", "app", "python3", "-c", &script]);
    let exported = || {
        let output = project.run(&["export", "app"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (described(&output.stdout, "opt/made"), described(&output.stdout, "opt/program"))
    };
    let wanted = (((1000, 1500), Vec::new()), ((0, 0), capability.to_vec()));
    assert_eq!(exported(), wanted);
    let name = |number: u32| format!("e2e-userns-{}:{number}", std::process::id());
    project.ok(&["commit", "app", &name(1)]);
    project.ok(&["stop", "-t", "0"]);
    assert_eq!(exported(), wanted);
    project.ok(&["commit", "app", &name(2)]);
    // To whoever has no user namespace they are the same.
    for number in [1, 2] {
        let file = format!(
            "services: {{app: {{image: '{}', pull_policy: never, command: sleep 1000}}}}\n",
            name(number)
        );
        project.write("compose.yaml", &file);
        project.ok(&["up", "-d", "-t", "0"]);
        assert_eq!(exported(), wanted, "{number}");
    }
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", &name(1), &name(2)]);
    registry.forget();
    project.down();
}

#[test]
fn what_cannot_be_mapped_is_named_with_its_place() {
    let file = "services:
  one: {x-rootfs: '@busybox@', command: sleep 1000, x-userns: auto, volumes: ['/proc:/host-proc']}
";
    let project = Project::new("userns-bind", file);
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("map the owners of /proc") && error.contains("is on /proc"), "{error}");
    assert!(error.contains("compose.yaml:2:"), "{error}");
    project.write(
        "compose.yaml",
        "services: {one: {x-rootfs: '@busybox@', command: sleep 1000, x-userns: auto, user: '70000'}}\n",
    );
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("too high"), "{error}");
    project.down();
}
