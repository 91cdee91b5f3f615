//! What is said of images: with the place in the file, all of it, and before anything is done.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use crate::layout::Layout;
use crate::stack::{Project, text};

/// A project with the image `oci:./image`.
fn project(name: &str, file: &str, image: &Layout) -> Project {
    let project = Project::new(name, file);
    image.write(&project.folder.join("image"));
    project
}

/// Takes the project down, and what it has put into the store; by its place from the current folder.
fn down(project: Project) {
    project.ok(&["down", "-v", "-t", "0"]);
    assert!(project.ok(&["image", "rm", "oci:./image"]).contains("Untagged"));
    project.down();
}

#[test]
fn what_keeps_a_program_from_starting_has_its_place() {
    let image = Layout::busybox("words-start").config(json!({"Cmd": ["/bin/none"], "User": "nobody-here"}));
    let file = "services:
  command:
    image: oci:./image
    user: '0'
    command: no-such-program
  entrypoint:
    image: oci:./image
    user: '0'
    entrypoint: [/bin/no-such-entrypoint]
  of-image:
    image: oci:./image
    user: '0'
  user:
    image: oci:./image
    command: 'true'
  folder:
    x-rootfs: '@busybox@'
    command: 'true'
    working_dir: /etc/passwd
";
    let project = project("words-start", file, &image);
    for (service, line, what) in [
        ("command", 5, "run no-such-program"),
        ("entrypoint", 9, "run /bin/no-such-entrypoint"),
        ("of-image", 11, "run /bin/none"),
        ("user", 14, "run as user nobody-here"),
        ("folder", 19, "/etc/passwd"),
    ] {
        let (_, error) = project.fails(&["up", "-d", service]);
        assert!(
            error.contains(what) && error.contains(&format!("compose.yaml:{line}:")),
            "{service}: {error}"
        );
    }
    // With others that fail at once none is left out, and each has a line that begins so.
    let (_, error) = project.fails(&["up", "-d"]);
    let told = error.lines().filter(|line| line.starts_with("error: ")).count();
    let failed = error.lines().filter(|line| line.contains("  Error  ")).count();
    assert!(told >= 1 && told == failed, "{told} {failed}: {error}");
    down(project);
}

#[test]
fn a_dry_run_says_what_would_be_pulled() {
    let image = Layout::busybox("words-dry").config(json!({"Cmd": ["sleep", "1000"]}));
    let file = "services:\n  a: {image: 'oci:./image'}\n  b: {image: 'oci:./image', pull_policy: never}\n";
    let project = project("words-dry", file, &image);
    let output = project.run(&["up", "--dry-run"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("image  Pulling"), "{said}");
    assert!(!project.ok(&["image", "ls"]).contains(&project.name), "nothing is pulled");
    project.ok(&["up", "-d"]);
    let said = text(&project.run(&["up", "--dry-run"]).stderr);
    assert!(!said.contains("Pulling"), "{said}");
    let said = text(&project.run(&["up", "--dry-run", "--pull", "always"]).stderr);
    assert!(said.contains("image  Pulling"), "{said}");
    down(project);
}

#[test]
fn a_pull_that_fails_has_its_place() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = format!("services:\n  a:\n    image: {nobody}/shop\n  b:\n    image: oci:./nothing\n");
    let project = Project::new("words-pull", &file);
    let (code, error) = project.fails(&["pull"]);
    assert!(
        code == 1 && error.contains("compose.yaml:3:12") && error.contains("compose.yaml:5:12"),
        "{error}"
    );
    project.down();
}

#[test]
fn images_are_named_as_they_were() {
    let image = Layout::busybox("words-names").config(json!({"Cmd": ["sleep", "1000"]}));
    let project = project("words-names", "services:\n  a: {image: 'oci:./image'}\n", &image);
    project.ok(&["up", "-d"]);
    assert!(project.ok(&["images"]).contains(" oci:./image "));
    let shown = project.ok(&["image", "inspect", "oci:./image"]);
    assert!(shown.contains("sha256:"), "{shown}");
    // A tag that leads to another image by now.
    let name = format!("{}/shop", project.name);
    project.ok(&["image", "tag", "oci:./image", &name]);
    project.write("compose.yaml", &format!("services:\n  a: {{image: '{name}'}}\n"));
    project.ok(&["up", "-d", "-t", "0"]);
    assert!(project.ok(&["images"]).contains(" latest "));
    let other = Layout::busybox("words-other").config(json!({"Cmd": ["sleep", "1000"]}));
    other.write(&project.folder.join("other"));
    project.ok(&["image", "pull", "oci:./other"]);
    project.ok(&["image", "tag", "oci:./other", &name]);
    project.ok(&["image", "rm", "-f", "oci:./image"]);
    let rows = project.ok(&["images"]);
    assert!(rows.contains("<none>") && rows.contains("MB") && !rows.contains("N/A "), "{rows}");
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", "oci:./other", &name]);
    let store = fs::read_dir("/var/lib/compose/images/blobs/sha256").unwrap().count();
    project.ok(&["image", "prune", "-f"]);
    assert!(fs::read_dir("/var/lib/compose/images/blobs/sha256").map_or(0, Iterator::count) <= store);
    project.down();
}

#[test]
fn what_an_image_asks_for_in_vain_is_told() {
    let image = Layout::busybox("words-odd")
        .config(json!({"Cmd": ["sleep", "1000"], "Volumes": {"data": {}}, "StopSignal": "SIGODD"}));
    let file = "services:\n  a: {image: 'oci:./image'}\n  b: {image: 'oci:./image', stop_signal: SIGKILL}\n";
    let project = project("words-odd", file, &image);
    let said = text(&project.run(&["up", "-d"]).stderr);
    let odd = said.lines().filter(|line| line.starts_with("warning: ")).collect::<Vec<_>>();
    assert_eq!(odd.len(), 3, "{said}");
    assert_eq!(odd.iter().filter(|line| line.contains("\"data\"")).count(), 2, "{odd:?}");
    assert!(odd.iter().any(|line| line.contains("service a") && line.contains("SIGODD")), "{odd:?}");
    project.write(
        "compose.yaml",
        "services:\n  a: {image: 'oci:./image', x-rootfs: '@busybox@', command: 'true'}\n",
    );
    let said = text(&project.run(&["up", "-d", "-t", "0"]).stderr);
    assert!(said.contains("the image is not used") && said.contains("compose.yaml:2:"), "{said}");
    down(project);
}
