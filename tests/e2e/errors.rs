//! Bad input: a clear error, non-zero, everything undone.

use crate::stack::{Project, text};

fn one(body: &str) -> String {
    format!("services:\n  api:\n    x-rootfs: @busybox@\n{body}")
}

fn refused(name: &str, file: &str) -> (i32, String) {
    let project = Project::new(name, file);
    let failure = project.fails(&["up", "-d"]);
    project.assert_nothing_left();
    failure
}

#[test]
fn a_program_that_is_not_there_is_named_and_all_is_undone() {
    let (code, message) = refused("missing", &one("    command: no-such-program\n"));
    assert_eq!(code, 127, "{message}");
    assert!(message.contains("no-such-program"), "{message}");
}

#[test]
fn a_program_that_cannot_be_executed_is_named() {
    let (code, message) = refused("denied", &one("    command: /etc/passwd\n"));
    assert_eq!(code, 126, "{message}");
    assert!(message.contains("/etc/passwd"), "{message}");
}

#[test]
fn errors_in_the_file_come_with_their_place() {
    let (code, message) = refused("place", &one("    comand: sleep 1\n"));
    assert_eq!(code, 1);
    assert!(message.contains("compose.yaml:4:5") && message.contains("command"), "{message}");
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let file = "services:\n  a: {x-rootfs: @busybox@, command: x, depends_on: [b]}\n  b: {x-rootfs: @busybox@, command: x, depends_on: [a]}\n";
    let (_, message) = refused("cycle", file);
    assert!(message.contains("a -> b -> a"), "{message}");
}

#[test]
fn a_missing_root_folder_is_named() {
    let (_, message) = refused("no-root-folder", "services:\n  api: {x-rootfs: /no/such/root, command: x}\n");
    assert!(message.contains("/no/such/root"), "{message}");
}

#[test]
fn a_broken_file_is_told_of_where_only_it_would_know() {
    let project = Project::new("broken", &one("    command: sleep 1000\n"));
    project.ok(&["up", "-d"]);
    project.write("compose.yaml", "services: {api: {x-rootfs: @busybox@, cpus: many}}\n");
    let (_, message) = project.fails(&["ps", "other"]);
    assert!(message.contains("compose.yaml:1:") && !message.contains("no such service"), "{message}");
    let down = project.run(&["down", "-v", "-t", "0"]);
    let message = text(&down.stderr);
    assert!(down.status.success(), "{message}");
    assert!(message.contains("the volumes that only") && message.contains("compose.yaml:1:"), "{message}");
    project.assert_nothing_left();
}
