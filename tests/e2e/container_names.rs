//! Names of containers over all stacks of the host.

use crate::stack::Project;

#[test]
fn two_stacks_have_no_container_of_the_same_name() {
    let name = format!("e2e-shared-{}", std::process::id());
    let file = format!(
        "services:\n  db: {{ x-rootfs: @busybox@, command: sleep 1000, container_name: {name} }}\n  \
         first: {{ x-rootfs: @busybox@, command: sleep 1000 }}\n"
    );
    let (one, two) = (Project::new("name-one", &file), Project::new("name-two", &file));
    one.ok(&["up", "-d"]);
    let reason = format!("the container name {name:?} is already in use by stack {}", one.name);
    for arguments in [vec!["up", "-d"], vec!["create"], vec!["run", "--rm", "--name", &name, "first", "true"]]
    {
        let (code, message) = two.fails(&arguments);
        assert!(code == 1 && message.contains(&reason), "{arguments:?}: {message}");
    }
    // At its line, and before anything is made.
    let (_, message) = two.fails(&["up", "-d"]);
    let place = format!("{reason}\n --> compose.yaml:2:");
    assert!(message.contains(&place), "{message}");
    two.assert_nothing_left();
    // A name that a service comes to have later is no other.
    two.write("compose.yaml", &file.replace(&format!(", container_name: {name}"), ""));
    two.ok(&["up", "-d"]);
    let pid = two.field("db", "Pid");
    two.write("compose.yaml", &file);
    let (_, message) = two.fails(&["up", "-d"]);
    assert!(message.contains(&reason), "{message}");
    assert_eq!(two.field("db", "Pid"), pid);
    one.ok(&["down", "-t", "0"]);
    two.ok(&["up", "-d", "-t", "0"]);
    assert_eq!(two.field("db", "Name"), name);
    one.assert_nothing_left();
    two.down();
}

#[test]
fn of_two_stacks_that_want_a_name_at_once_one_has_it() {
    let name = format!("e2e-raced-{}", std::process::id());
    let file =
        format!("services: {{ db: {{ x-rootfs: @busybox@, command: sleep 1000, container_name: {name} }} }}");
    let projects = ["race-one", "race-two", "race-three"].map(|project| Project::new(project, &file));
    for _ in 0..3 {
        let ups = projects.each_ref().map(|project| {
            project.command(&["up", "-d"]).stderr(std::process::Stdio::null()).spawn().unwrap()
        });
        let codes = ups.map(|mut up| up.wait().unwrap().code());
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        for project in &projects {
            project.ok(&["down", "-t", "0"]);
        }
    }
    for project in &projects {
        project.assert_nothing_left();
    }
}
