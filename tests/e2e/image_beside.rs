//! Images besides a service's own: of steps before its start, and as mounts.

use std::fs;

use serde_json::json;

use crate::layout::Layout;
use crate::stack::Project;

/// Takes the project down, and what it has put into the store.
fn down(project: Project, images: &[&str]) {
    project.ok(&["down", "-v", "-t", "0"]);
    for image in images {
        project.ok(&["image", "rm", &format!("oci:{}", project.folder.join(image).display())]);
    }
    project.down();
}

#[test]
fn a_step_runs_in_an_image_of_its_own_as_that_says() {
    let file = "
services:
  app:
    image: oci:./own
    command: sleep 1000
    environment: {OF: file, WORD: file}
    volumes: ['./out:/out']
    pre_start:
      - {image: 'oci:./tool', command: [first], environment: {WORD: step}}
      - {image: 'oci:./tool', command: [second], user: root, working_dir: /tmp}
      - {command: ['/bin/sh', '-c', 'echo $OWN $TOOL- in $PWD >> /out/said']}
";
    let project = Project::new("step-image", &file.replace('$', "$$"));
    let own = json!({"Env": ["PATH=/bin", "OWN=own"], "WorkingDir": "/own"});
    Layout::busybox("step-own").config(own).write(&project.folder.join("own"));
    let says = "echo $0 $(id -un) in $PWD: $TOOL $OWN- $OF $WORD $(cat /salt) >> /out/said; touch /bin/trace 2> /dev/null";
    let tool = json!({
        "Entrypoint": ["/bin/sh", "-c", format!("{says}; exit 0")],
        "Cmd": ["nobody asks for this"],
        "Env": ["PATH=/bin", "TOOL=tool", "OF=tool", "WORD=tool"],
        "User": "app",
        "WorkingDir": "/work",
    });
    Layout::busybox("of the tool").config(tool).write(&project.folder.join("tool"));
    fs::create_dir(project.folder.join("out")).unwrap();
    fs::write(project.folder.join("out/said"), "").unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(project.folder.join("out/said"), all).unwrap();
    project.ok(&["up", "-d"]);
    let said = fs::read_to_string(project.folder.join("out/said")).unwrap();
    let expected = "first app in /work: tool - file step of the tool\n\
                    second root in /tmp: tool - file file of the tool\n\
                    own - in /own\n";
    assert_eq!(said, expected);
    // Whoever may have the step run again keeps its image.
    let (_, error) =
        project.fails(&["image", "rm", &format!("oci:{}", project.folder.join("tool").display())]);
    assert!(error.contains("stands on it"), "{error}");
    assert_eq!(project.ok(&["images", "-q"]).lines().count(), 1);
    // Another image is another configuration.
    project.ok(&["up", "-d"]);
    assert_eq!(fs::read_to_string(project.folder.join("out/said")).unwrap(), expected);
    Layout::busybox("of another")
        .config(json!({"Entrypoint": ["/bin/sh", "-c", says]}))
        .write(&project.folder.join("tool"));
    project.ok(&["up", "-d", "--pull", "always"]);
    let said = fs::read_to_string(project.folder.join("out/said")).unwrap();
    assert!(said.contains("first root in /: - file step of another\n"), "{said}");
    down(project, &["own", "tool"]);
}

#[test]
fn an_image_is_mounted_and_nobody_writes_to_it() {
    let file = "
services:
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes:
      - {type: image, source: 'oci:./many', target: /many}
      - {type: image, source: 'oci:./many', target: /part, image: {subpath: opt/deep}}
      - {type: image, source: 'oci:./many', target: /file, image: {subpath: opt/link}}
      - {type: image, source: 'oci:./one', target: /one}
      - {type: image, source: 'oci:./one', target: /one-part, image: {subpath: etc}}
  other: {x-rootfs: @busybox@, command: sleep 1000, volumes_from: [app]}
";
    let project = Project::new("mount-image", file);
    Layout::busybox("mount-one").write(&project.folder.join("one"));
    let many = |text: &str| {
        let lower = Layout::busybox("mount-many").layer(&[
            ("opt/", ""),
            ("opt/own", "gone"),
            ("opt/deep/", ""),
            ("opt/deep/file", "below"),
        ]);
        let upper = lower.layer(&[("opt/.wh.own", ""), ("opt/deep/more", text), ("opt/link", "linked")]);
        upper.write(&project.folder.join("many"));
    };
    many("first\n");
    project.ok(&["pull"]);
    project.ok(&["create", "--pull", "never"]);
    project.ok(&["cp", "app:/part/more", "copied"]);
    assert_eq!(fs::read_to_string(project.folder.join("copied")).unwrap(), "first\n");
    project.ok(&["up", "-d"]);
    for service in ["app", "other"] {
        let exec = |words: &[&str]| project.ok(&[&["exec", "-T", service], words].concat());
        assert_eq!(exec(&["ls", "/many/opt"]), "deep\nlink\n");
        assert_eq!(exec(&["ls", "/part"]), "file\nmore\n");
        assert_eq!(exec(&["cat", "/file", "/one/salt", "/many/salt"]), "linkedmount-onemount-many");
        assert_eq!(exec(&["cat", "/one-part/passwd"]), exec(&["cat", "/one/etc/passwd"]));
        for target in ["/many", "/part", "/one", "/one-part"] {
            let (_, error) = project.fails(&["exec", "-T", service, "touch", &format!("{target}/x")]);
            assert!(error.contains("Read-only file system"), "{error}");
        }
    }
    let (_, error) =
        project.fails(&["image", "rm", &format!("oci:{}", project.folder.join("one").display())]);
    assert!(error.contains("stands on it"), "{error}");
    // What the image has become is seen by a new container alone.
    let before = project.field("app", "ID");
    many("second\n");
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("app", "ID"), before);
    project.ok(&["up", "-d", "--pull", "always"]);
    assert_ne!(project.field("app", "ID"), before);
    assert_eq!(project.ok(&["exec", "-T", "other", "cat", "/part/more"]), "second\n");
    down(project, &["one", "many"]);
}

#[test]
fn what_is_wrong_with_such_an_image_is_said_where_it_stands() {
    let file = "
services:
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    pre_start: [{image: 'oci:./none', command: [a]}]
    volumes:
      - {type: image, source: 'oci:./lacking', target: /a}
";
    let project = Project::new("beside-wrong", file);
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(error.contains("compose.yaml:6:") && error.contains("compose.yaml:8:"), "{error}");
    assert!(error.contains("none") && error.contains("lacking"), "{error}");
    let (_, error) = project.fails(&["up", "-d", "--pull", "never"]);
    assert!(error.contains("compose.yaml:6:"), "{error}");
    Layout::busybox("beside-part").write(&project.folder.join("image"));
    for (subpath, why) in [("no/such", "no/such: No such file"), ("etc/passwd", "")] {
        project.write(
            "compose.yaml",
            &format!(
                "services:\n  app:\n    x-rootfs: @busybox@\n    command: cat /a\n    volumes: [{{type: image, source: 'oci:./image', target: /a, image: {{subpath: {subpath}}}}}]\n"
            ),
        );
        let output = project.run(&["up", "--abort-on-container-exit"]);
        let said = crate::stack::text(&output.stderr) + &crate::stack::text(&output.stdout);
        assert_eq!(output.status.success(), why.is_empty(), "{said}");
        assert!(said.contains(why), "{said}");
    }
    down(project, &["image"]);
}
