//! Images that are made to lead out of their container.

use std::fs;

use serde_json::json;

use crate::layout::Layout;
use crate::stack::Project;

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
    let links: [(&str, &str, &[(&str, &str)]); 6] = [
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
