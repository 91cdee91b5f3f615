//! What an image says of itself, and what a file says instead.

use std::fs;

use serde_json::json;

use crate::layout::Layout;
use crate::stack::Project;

/// A project whose file names the image `oci:./image`.
fn project(name: &str, file: &str, image: &Layout) -> Project {
    let project = Project::new(name, file);
    image.write(&project.folder.join("image"));
    project
}

/// Takes the project down, and what it has put into the store.
fn down(project: Project) {
    let image = format!("oci:{}", project.folder.join("image").display());
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", &image]);
    project.down();
}

fn full(salt: &str) -> Layout {
    Layout::busybox(salt).layer(&[("opt/", ""), ("opt/own", "of the image\n")]).config(json!({
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["trap 'echo asked; exit 0' USR1; echo \"$GREET $KEPT from $(id -un):$(id -Gn) in $PWD\"; while :; do sleep 0.1; done"],
        "Env": ["PATH=/bin", "GREET=hello", "KEPT=kept"],
        "WorkingDir": "/work/folder",
        "User": "app",
        "Volumes": {"/data": {}, "/named/": {}},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Labels": {"of": "image", "both": "image"},
        "StopSignal": "SIGUSR1",
        "Healthcheck": {"Test": ["CMD-SHELL", "test -e /tmp/well"], "Interval": 100_000_000, "Retries": 1000},
    }))
}

#[test]
fn an_image_alone_says_everything() {
    let file = "services:\n  a: {image: 'oci:./image', volumes: [named:/named]}\nvolumes: {named: {}}\n";
    let project = project("image-alone", file, &full("alone"));
    project.ok(&["up", "-d"]);
    let exec = |words: &[&str]| project.ok(&[&["exec", "-T", "a"], words].concat());
    assert_eq!(exec(&["cat", "/opt/own"]), "of the image\n");
    assert_eq!(exec(&["stat", "-c", "%a %u:%g", "/opt", "/opt/own"]), "750 1000:1000\n640 1000:1000\n");
    // The volume of the file is at its place, and one without a name at the other.
    let mounts = exec(&["cat", "/proc/mounts"]);
    assert_eq!((mounts.matches(" /data ").count(), mounts.matches(" /named ").count()), (1, 1), "{mounts}");
    let row = &project.containers()[0];
    assert_eq!(row["Image"], "oci:./image");
    let labels = row["Labels"].to_string();
    assert!(labels.contains("of=image") && labels.contains("both=image"), "{labels}");
    assert!(
        row["Ports"].to_string().contains("80/tcp") && row["Ports"].to_string().contains("53/udp"),
        "{row}"
    );
    exec(&["touch", "/tmp/well"]);
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.field("a", "Health"), "healthy");
    project.ok(&["stop"]);
    let log = project.ok(&["logs", "--no-log-prefix"]);
    assert_eq!(log, "hello kept from app:app more in /work/folder\nasked\n");
    down(project);
}

#[test]
fn what_a_file_says_goes_before_it() {
    let file = r#"
services:
  command: {image: "oci:./image", command: ["echo $$GREET; pwd; id -u"], environment: {GREET: file}, user: "0", working_dir: /tmp}
  entrypoint: {image: "oci:./image", entrypoint: [echo, only]}
  no-entrypoint: {image: "oci:./image", entrypoint: [], command: [echo, bare]}
  both: {image: "oci:./image", entrypoint: echo, command: two words, labels: {both: file}}
  unprobed: {image: "oci:./image", healthcheck: {disable: true}, stop_signal: SIGKILL}
  hasty: {image: "oci:./image", healthcheck: {retries: 1}}
  other: {image: "oci:./image", healthcheck: {test: ["CMD", "true"]}}
"#;
    let project = project("image-over", file, &full("over"));
    project.ok(&["up", "-d"]);
    for service in ["command", "entrypoint", "no-entrypoint", "both"] {
        project.ends(service);
    }
    let log = |service: &str| project.ok(&["logs", "--no-log-prefix", service]);
    assert_eq!(log("command"), "file\n/tmp\n0\n");
    assert_eq!(log("entrypoint"), "only\n");
    assert_eq!(log("no-entrypoint"), "bare\n");
    assert_eq!(log("both"), "two words\n");
    assert!(project.field("both", "Labels").to_string().contains("both=file"));
    assert_eq!(project.field("unprobed", "Health"), "");
    // The file's test at the image's times, and the image's test with as many failures as the file allows.
    project.ok(&["up", "-d", "--wait", "other"]);
    let (_, error) = project.fails(&["up", "-d", "--wait", "hasty"]);
    assert!(error.contains("hasty") && error.contains("unhealthy"), "{error}");
    project.ok(&["stop", "unprobed"]);
    assert!(!log("unprobed").contains("asked"));
    let run = |words: &[&str]| project.ok(&[&["run", "--rm", "-T"], words].concat());
    assert_eq!(run(&["--entrypoint", "echo", "command"]), "\n");
    assert_eq!(run(&["--entrypoint", "echo", "command", "x"]), "x\n");
    assert_eq!(run(&["command", "echo $GREET"]), "file\n");
    down(project);
}

#[test]
fn many_layers_lie_over_each_other_and_hide_what_is_below() {
    let mut image =
        Layout::busybox("many").layer(&[("low/", ""), ("low/a", "1"), ("low/b", "1"), ("gone", "1")]);
    for number in 2..120 {
        image = image.layer(&[(&format!("own/{number}"), ""), ("low/a", &number.to_string())]);
    }
    let image = image.layer(&[(".wh.gone", ""), ("own/.wh.7", "")]).config(json!({"Cmd": ["sleep", "1000"]}));
    let project = project("image-layers", "services:\n  a: {image: 'oci:./image'}\n", &image);
    project.ok(&["up", "-d"]);
    let script = "cat /low/a /low/b; ls /own | wc -l; ls -d /gone /own/7 /own/8 2>/dev/null; echo x > /own/8; rm -r /low; ls /";
    let out = project.ok(&["exec", "-T", "a", "sh", "-c", script]);
    assert!(out.starts_with("1191117\n/own/8\n"), "{out}");
    assert!(!out.contains("low") && out.contains("own"), "{out}");
    project.ok(&["up", "-d", "--force-recreate", "-t", "0"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/low/a"]), "119");
    down(project);
}

#[test]
fn another_image_under_the_name_makes_the_container_anew() {
    let sleep = json!({"Cmd": ["sleep", "1000"]});
    let first = Layout::busybox("change").layer(&[("which", "first")]).config(sleep.clone());
    let file = "services:\n  a: {image: 'oci:./image'}\n  b: {image: 'oci:./image', pull_policy: always}\n";
    let project = project("image-change", file, &first);
    project.ok(&["up", "-d"]);
    let pids = || ["a", "b"].map(|service| project.field(service, "Pid").as_i64().unwrap());
    let before = pids();
    project.ok(&["up", "-d"]);
    assert_eq!(pids(), before);
    let second = Layout::busybox("change").layer(&[("which", "second")]).config(sleep);
    second.write(&project.folder.join("image"));
    // What is here serves whoever does not ask for more.
    project.ok(&["up", "-d", "-t", "0", "a"]);
    assert_eq!(pids(), before);
    let plan = project.ok(&["up", "--dry-run"]);
    assert!(!plan.contains("recreate"), "{plan}");
    project.ok(&["up", "-d", "-t", "0"]);
    let which = |service: &str| project.ok(&["exec", "-T", service, "cat", "/which"]);
    // One name is one image: who asks to look brings it for both.
    assert_eq!((which("a"), which("b")), ("second".to_owned(), "second".to_owned()));
    // It is started again from the image, whoever is there.
    project.kill_processes("compose-keeper");
    project.kill_processes("compose-supervisor");
    project.ok(&["restart", "-t", "0", "a"]);
    assert_eq!(which("a"), "second");
    down(project);
}

#[test]
fn what_an_image_lacks_is_said_with_its_place() {
    let image = Layout::busybox("lacks").config(json!({"Entrypoint": ["/bin/none"]}));
    let file = |service: &str| format!("services:\n  a: {{image: 'oci:./image', {service}}}\n");
    let project = project("image-lacks", &file(""), &image);
    let (code, error) = project.fails(&["up", "-d"]);
    assert!(code == 127 && error.contains("/bin/none") && error.contains("a-1"), "{code} {error}");
    project.write("compose.yaml", &file("entrypoint: [sleep, '1'], user: nobody-here"));
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("nobody-here"), "{error}");
    project.write("compose.yaml", &file("pull_policy: never, platform: linux/s390x"));
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("linux/s390x") && error.contains("compose.yaml:2:14"), "{error}");
    project.write("compose.yaml", &file("platform: linux/s390x"));
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("is not made for linux/s390x"), "{error}");
    project.write("compose.yaml", &file("platform: none"));
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("compose.yaml:2:") && error.contains("`none` is not a platform"), "{error}");
    let nothing = Layout::busybox("nothing");
    nothing.write(&project.folder.join("nothing"));
    project.write("compose.yaml", "services:\n  a: {image: 'oci:./nothing'}\n");
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("names no program") && error.contains("compose.yaml:2:14"), "{error}");
    let waits = "services:\n  a: {image: 'oci:./nothing', command: 'true'}\n  b: {image: 'oci:./nothing', command: 'true', depends_on: {a: {condition: service_healthy}}}\n";
    project.write("compose.yaml", waits);
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("neither `a` nor its image has a health check"), "{error}");
    project.write("compose.yaml", "services:\n  a: {image: 'oci:./none', command: 'true'}\n  b: {image: 'oci-archive:./none', command: 'true'}\n");
    let (_, error) = project.fails(&["up", "-d"]);
    // All of them, not the first alone.
    assert!(error.contains("compose.yaml:2:14") && error.contains("compose.yaml:3:14"), "{error}");
    project.ok(&["image", "rm", &format!("oci:{}", project.folder.join("nothing").display())]);
    down(project);
}

#[test]
fn images_go_with_the_stack_where_that_is_asked() {
    let image = Layout::busybox("rmi").layer(&[("rmi", "")]).config(json!({"Cmd": ["sleep", "1000"]}));
    let file = "services:\n  a: {image: 'oci:./image'}\n  b: {image: 'oci:./image'}\n";
    let project = project("image-rmi", file, &image);
    project.ok(&["up", "-d"]);
    let output = project.run(&["down", "-t", "0", "--rmi", "all", "a"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("stands on it") && image.top_layer().exists());
    project.ok(&["down", "-t", "0", "--rmi", "local"]);
    assert!(image.top_layer().exists());
    project.ok(&["up", "-d"]);
    project.ok(&["down", "-t", "0", "--rmi", "all"]);
    assert!(!image.top_layer().exists());
    project.down();
}

#[test]
fn an_image_whose_files_were_taken_away_is_named() {
    let image = Layout::busybox("lost").layer(&[("only", "here")]).config(json!({"Cmd": ["sleep", "1000"]}));
    let project = project("image-lost", "services:\n  a: {image: 'oci:./image'}\n", &image);
    project.ok(&["up", "-d"]);
    project.ok(&["stop", "-t", "0"]);
    let layer = image.top_layer();
    fs::remove_dir_all(&layer).unwrap();
    let (_, error) = project.fails(&["start"]);
    assert!(error.contains("has lost the layer") && error.contains("compose pull"), "{error}");
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/only"]), "here");
    // Its files alone.
    fs::remove_dir_all(layer.join("fs")).unwrap();
    project.ok(&["up", "-d", "-t", "0", "--force-recreate"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/only"]), "here");
    down(project);
}
