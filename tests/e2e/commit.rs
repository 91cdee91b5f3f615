//! `compose commit`.

use serde_json::json;

use crate::layout::Layout;
use crate::stack::Project;

const FILE: &str = "
services:
  app:
    image: oci:./image
    command: sleep 1000
    environment: {OF: file}
    volumes: ['/data']
    stop_signal: USR1
    expose: ['80', '53/udp']
    healthcheck: {test: [CMD, 'true'], retries: 7}
  folder: {x-rootfs: @busybox@, command: sleep 1000}
";

#[test]
fn what_a_container_has_made_becomes_an_image() {
    let project = Project::new("commit", FILE);
    let config = json!({"Env": ["PATH=/bin", "KEPT=image"], "WorkingDir": "/opt", "Volumes": {"/of-image": {}},
        "ExposedPorts": {"81/tcp": {}}});
    let image = Layout::busybox("commit").layer(&[
        ("opt/", ""),
        ("opt/gone", "x"),
        ("opt/sub/", ""),
        ("opt/sub/gone", "x"),
        ("opt/kept", "kept\n"),
    ]);
    image.config(config).write(&project.folder.join("image"));
    project.ok(&["up", "-d"]);
    let script = "echo new > made; rm gone; rm -r sub; mkdir sub; echo in > sub/new; ln made name; echo no > /data/file; chown 7:8 made";
    project.ok(&["exec", "-T", "app", "sh", "-c", script]);
    let name = format!("e2e-commit-{}:one", std::process::id());
    let change = [
        "-c",
        "ENV MORE='two words'",
        "-c",
        "CMD [\"sh\", \"-c\", \"ls -n; cat made sub/*; echo $KEPT $OF $MORE; ls /data\"]",
    ];
    project.ok(&[&["commit", "-a", "Ann", "-m", "for a test"], &change[..], &["app", &name]].concat());
    // It was held for a moment, and runs on.
    assert_eq!(project.field("app", "State"), "running");
    let shown = project.ok(&["image", "inspect", &name]);
    assert!(shown.contains("MORE=two words"), "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let made = &shown[0]["Config"];
    assert_eq!(made["StopSignal"], "SIGUSR1");
    assert_eq!(made["Volumes"], json!({"/data": {}, "/of-image": {}}));
    assert_eq!(made["ExposedPorts"], json!({"53/udp": {}, "80/tcp": {}, "81/tcp": {}}));
    assert_eq!(
        (&made["Healthcheck"]["Test"], &made["Healthcheck"]["Retries"]),
        (&json!(["CMD", "true"]), &json!(7))
    );
    let file = format!("services: {{app: {{image: '{name}', pull_policy: never}}}}\n");
    let second = Project::new("commit-two", &file);
    second.ok(&["up", "-d"]);
    second.ends("app");
    let said = second.ok(&["logs", "--no-log-prefix", "app"]);
    for line in ["new", "in", "image file two words"] {
        assert!(said.lines().any(|known| known == line), "{line}: {said}");
    }
    assert!(said.contains("7        8") && said.contains(" name") && said.contains(" kept"), "{said}");
    assert!(!said.contains("gone") && !said.contains("file\n"), "{said}");
    // One that does not run, without a name: it goes by its id.
    second.ok(&["stop", "-t", "0"]);
    let output = second.run(&["commit", "app"]);
    let said = crate::stack::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let id = said.split("sha256:").nth(1).unwrap().trim().to_owned();
    second.ok(&["down", "-v", "-t", "0"]);
    second.ok(&["image", "rm", &id]);
    second.ok(&["image", "rm", &name]);
    second.assert_nothing_left();
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", &format!("oci:{}", project.folder.join("image").display())]);
    project.assert_nothing_left();
}

#[test]
fn what_cannot_become_an_image_says_why() {
    let project = Project::new("commit-wrong", FILE);
    let refused = |args: &[&str], why: &str| {
        let (code, error) = project.fails(args);
        assert!(code == 1 && error.contains(why), "{args:?}: {error}");
    };
    project.ok(&["up", "-d", "folder"]);
    refused(&["commit", "folder", "a:b"], "it stands on none to which");
    refused(&["commit", "folder", "A b"], "space");
    refused(&["commit", "-c", "RUN x", "folder"], "`RUN` is no change of an image");
    refused(&["commit", "--index", "2", "folder"], "has no container 2: it has 1");
    // No row begins with the name; an id of another image may well end in this letter.
    assert!(!project.ok(&["image", "ls"]).lines().any(|row| row.starts_with("a ")));
    project.down();
}
