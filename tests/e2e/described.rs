//! Devices that their vendors describe (CDI), such as GPUs. This one's are of a vendor that is nobody.

use std::fs;
use std::path::PathBuf;

use crate::stack::{Project, text};

const FOLDER: &str = "/var/run/cdi";

/// A file of descriptions, which goes with the test.
struct Description(PathBuf);

impl Description {
    fn new(name: &str, content: &str) -> Self {
        let path = PathBuf::from(FOLDER).join(format!("composer-e2e-{}-{name}", std::process::id()));
        loop {
            fs::create_dir_all(FOLDER).unwrap();
            match fs::write(&path, content) {
                // Another test's end has taken the empty folder away.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                written => return written.map(|()| Self(path)).unwrap(),
            }
        }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir(FOLDER);
    }
}

/// One that no other run of the tests has.
fn vendor(which: &str) -> String {
    format!("d-{which}-{:07}.test", std::process::id())
}

fn project(name: &str, which: &str, file: &str, hook: &str) -> (Project, Description) {
    let project = Project::new(name, "services: {}");
    let vendor = vendor(which);
    project.write(
        "compose.yaml",
        &file.replace("@vendor@", &vendor).replace("@short@", vendor.trim_end_matches(".test")),
    );
    project.write("lib.so", "the library\n");
    project.write("hook", hook);
    let folder = project.folder.display();
    std::os::unix::fs::chown(project.folder.join("hook"), Some(0), Some(0)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(project.folder.join("hook"), mode).unwrap();
    let description = Description::new(
        &format!("{name}.yaml"),
        &format!(
            "
cdiVersion: 0.6.0
kind: {vendor}/gpu
containerEdits:
  env: [GPU_DRIVER=1, OWN=theirs]
  mounts:
  - {{hostPath: {folder}/lib.so, containerPath: /usr/lib/lib.so, options: [ro, nosuid, nodev, rbind, rprivate]}}
  hooks:
  - {{hookName: createContainer, path: {folder}/hook, args: [own-name, links], env: ['TO={folder}'], timeout: 60}}
devices:
- {{name: '0', containerEdits: {{deviceNodes: [{{path: /dev/gpu0, hostPath: /dev/zero}}]}}}}
- name: '1'
  containerEdits:
    deviceNodes: [{{path: /dev/gpu1, hostPath: /dev/kmsg, permissions: r, fileMode: 416, gid: 44}}]
    additionalGids: [44]
- name: all
  containerEdits: {{deviceNodes: [{{path: /dev/gpu0, hostPath: /dev/zero}}, {{path: /dev/gpu1, hostPath: /dev/kmsg}}]}}
"
        ),
    );
    (project, description)
}

const HOOK: &str = r#"#!/bin/sh
state=$(cat)
bundle=$(echo "$state" | sed 's/.*"bundle":"\([^"]*\)".*/\1/')
root=$(sed 's/.*"path":"\([^"]*\)".*/\1/' "$bundle/config.json")
test -e "$root/usr/lib/lib.so" && ln -s lib.so "$root/usr/lib/$1.so" && echo "$state" > "$TO/state"
"#;

#[test]
fn a_container_gets_the_devices_with_all_that_their_vendor_says() {
    let file = "
services:
  counted: { x-rootfs: @busybox@, command: sleep 1000, gpus: [{count: 1, driver: @vendor@}], environment: {OWN: mine} }
  named:
    x-rootfs: @busybox@
    command: sleep 1000
    deploy: {resources: {reservations: {devices: [{driver: @short@, device_ids: ['1'], capabilities: [gpu]}]}}}
  whole: { x-rootfs: @busybox@, command: sleep 1000, devices: ['@vendor@/gpu=all'] }
  none: { x-rootfs: @busybox@, command: sleep 1000 }
";
    let (project, _description) = project("described", "one", file, HOOK);
    project.ok(&["up", "-d"]);
    let sh = |service: &str, script: &str| project.ok(&["exec", "-T", service, "sh", "-c", script]);
    assert_eq!(sh("counted", "ls /dev | grep gpu; head -c 2 /dev/gpu0 | wc -c"), "gpu0\n2\n");
    assert_eq!(
        sh("counted", "cat /usr/lib/links.so; tr '\\0' '\\n' < /proc/1/environ | grep -E 'GPU|OWN'"),
        { "the library\nGPU_DRIVER=1\nOWN=theirs\n" }
    );
    assert!(
        project.run(&["exec", "-T", "counted", "sh", "-c", "echo > /usr/lib/lib.so"]).status.code()
            != Some(0)
    );
    // With its own permissions, in its file and in the group's rules.
    assert_eq!(sh("named", "stat -c '%n %t:%T %a %g' /dev/gpu*; grep Groups /proc/1/status"), {
        "/dev/gpu1 1:b 640 44\nGroups:\t44 \n"
    });
    let written = project.run(&["exec", "-T", "named", "sh", "-c", "echo > /dev/gpu1"]);
    assert!(text(&written.stderr).contains("not permitted"), "{written:?}");
    assert_eq!(sh("whole", "ls /dev | grep gpu"), "gpu0\ngpu1\n");
    assert_eq!(sh("none", "ls /dev /usr | grep -E 'gpu|lib' || echo nothing"), "nothing\n");
    let state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(project.folder.join("state")).unwrap()).unwrap();
    assert_eq!(state["status"], "creating");
    project.down();
}

#[test]
fn what_cannot_be_had_is_said_with_its_place_before_anything_runs() {
    let file = "
services:
  first: { x-rootfs: @busybox@, command: sleep 1000 }
  other:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on: [first]
    gpus: [{driver: @vendor@, count: 3}, {driver: nobody}]
    devices: [@vendor@/gpu=7, '@vendor@/gpu=0:/dev/x', /dev/nobody]
";
    let (project, _description) = project("described-bad", "two", file, HOOK);
    let _unread = Description::new("broken.json", "{");
    let output = project.run(&["up", "-d"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let vendor = vendor("two");
    let [counted, numbered] = [
        format!("3 devices of `{vendor}/gpu` are asked for, and there are 2"),
        format!("describes {vendor}/gpu=7"),
    ];
    for (what, place) in [
        (counted.as_str(), "8:12"),
        ("describes a device of `nobody` that can do `gpu`", "8:52"),
        (numbered.as_str(), "9:15"),
        ("the device /dev/nobody: No such file", "9:76"),
        ("in the container is its vendor's to say", "9:41"),
        ("broken.json: EOF while parsing", "8:52"),
    ] {
        assert!(
            said.contains(what) && said.contains(&format!("compose.yaml:{place}")),
            "{what} {place}: {said}"
        );
    }
    assert!(!said.contains("Container"), "{said}");
    project.write("compose.yaml", "services: {}");
    project.down();
}

#[test]
fn a_hook_that_fails_or_hangs_is_named_and_nothing_stays() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000, devices: ['@vendor@/gpu=0']}}";
    let hook = "#!/bin/sh\necho 'no driver is loaded' >&2\nexit 3\n";
    let (project, description) = project("described-hook", "three", file, hook);
    let failed = project.run(&["up", "-d"]);
    let said = text(&failed.stderr);
    assert!(said.contains("/hook: exit status: 3: no driver is loaded"), "{said}");
    let hanging = fs::read_to_string(&description.0).unwrap().replace("timeout: 60", "timeout: 1");
    fs::write(&description.0, hanging).unwrap();
    project.write("hook", "#!/bin/sh\nexec sleep 1000\n");
    let failed = project.run(&["up", "-d"]);
    let said = text(&failed.stderr);
    assert!(said.contains("/hook: it took more than 1 s"), "{said}");
    project.down();
}
