//! Volumes that nobody has named: with whom they go, and where they stay.

use std::fs;
use std::path::Path;

use crate::stack::{Project, text};

fn file() -> &'static str {
    "services:
  one: {x-rootfs: '@busybox@', command: sleep 1000, volumes: [/own, {type: volume, target: /two, volume: {labels: {a: b}}}]}
"
}

/// Writes a word into the volume of `one`.
fn write(project: &Project, word: &str) {
    project.ok(&[
        "exec",
        "-T",
        "one",
        "sh",
        "-c",
        &format!("echo {word} > /own/file; echo {word} > /two/file"),
    ]);
}

/// The folders of volumes that containers have left.
fn folders(project: &Project) -> Vec<String> {
    project.left_volumes().into_iter().map(|name| format!("/var/lib/compose/volumes/{name}")).collect()
}

#[test]
fn what_is_in_them_outlives_down_and_rm_until_somebody_removes_it() {
    let project = Project::new("left", file());
    project.ok(&["up", "-d"]);
    write(&project, "first");
    let had = project.ok(&["volumes", "-q", "one"]);
    project.ok(&["down", "-t", "0"]);
    // Under the names that they had.
    let left = project.left_volumes();
    assert_eq!(left.join("\n"), had.trim_end());
    for folder in folders(&project) {
        assert_eq!(fs::read_to_string(Path::new(&folder).join("file")).unwrap(), "first\n");
    }
    let shown = project.ok(&["volume", "inspect", &left[0], &left[1]]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let labels: Vec<&serde_json::Value> =
        shown.as_array().unwrap().iter().map(|one| &one["Labels"]).collect();
    assert!(
        labels.iter().all(|labels| labels["com.docker.volume.anonymous"] == ""
            && labels["com.docker.compose.service"] == "one")
    );
    assert_eq!(labels.iter().filter(|labels| labels["a"] == "b").count(), 1);
    // The next ones are new; one that is removed with its volumes leaves none.
    project.ok(&["up", "-d"]);
    assert!(!project.ok(&["exec", "-T", "one", "ls", "/own", "/two"]).contains("file"));
    project.ok(&["rm", "-sfv"]);
    assert_eq!(project.left_volumes(), left);
    project.ok(&["up", "-d"]);
    project.ok(&["rm", "-sf"]);
    assert_eq!(project.left_volumes().len(), 4);
    project.ok(&["up", "-d"]);
    project.ok(&["run", "--rm", "-T", "one", "true"]);
    project.ok(&["down", "-v", "-t", "0"]);
    let left = project.left_volumes();
    assert_eq!(left.len(), 4);
    let label = format!("label=com.docker.compose.project={}", project.name);
    let pruned = project.ok(&["volume", "prune", "-f", "--filter", &label]);
    assert!(left.iter().all(|name| pruned.contains(name)), "{pruned}");
    project.down();
}

#[test]
fn one_that_another_container_still_has_is_in_use() {
    let rest = "  two: {x-rootfs: '@busybox@', command: sleep 1000, volumes_from: [one]}\n";
    let project = Project::new("left-lent", &format!("{}{rest}", file()));
    project.ok(&["up", "-d"]);
    write(&project, "lent");
    project.ok(&["rm", "-sf", "one"]);
    assert_eq!(project.left_volumes(), [] as [String; 0]);
    let volumes = project.ok(&["volumes", "-q", "two"]);
    assert_eq!(volumes.lines().count(), 2);
    let (_, error) = project.fails(&["volume", "rm", volumes.lines().next().unwrap()]);
    assert!(error.contains("in use by") && error.contains("two-1"), "{error}");
    assert_eq!(project.ok(&["exec", "-T", "two", "cat", "/own/file"]), "lent\n");
    project.ok(&["down", "-t", "0"]);
    let left = project.left_volumes();
    assert_eq!(left.join("\n"), volumes.trim_end());
    project.ok(&["volume", "rm", &left[0], &left[1]]);
    project.down();
}

#[test]
fn one_that_is_lent_in_its_stack_goes_with_whoever_has_it_last() {
    let rest = "  two: {x-rootfs: '@busybox@', command: sleep 1000, volumes_from: [one]}\n";
    let project = Project::new("left-last", &format!("{}{rest}", file()));
    project.ok(&["up", "-d"]);
    write(&project, "lent");
    project.ok(&["rm", "-sfv", "one"]);
    assert_eq!(project.ok(&["exec", "-T", "two", "cat", "/own/file", "/two/file"]), "lent\nlent\n");
    let label = format!("label=com.docker.compose.project={}", project.name);
    let volumes = || project.ok(&["volume", "ls", "-q", "-f", &label]);
    assert_eq!(volumes().lines().count(), 2);
    assert_eq!(project.left_volumes(), [] as [String; 0]);
    project.ok(&["rm", "-sfv", "two"]);
    assert_eq!(volumes(), "");
    // Both at once, and whoever had it last without `-v`, as ever.
    project.ok(&["up", "-d"]);
    project.ok(&["rm", "-sfv"]);
    assert_eq!(volumes(), "");
    project.ok(&["up", "-d"]);
    project.ok(&["rm", "-sfv", "one"]);
    project.ok(&["rm", "-sf", "two"]);
    let left = project.left_volumes();
    assert_eq!(left.len(), 2);
    project.ok(&["volume", "rm", &left[0], &left[1]]);
    project.down();
}

#[test]
fn one_that_another_stack_has_is_not_removed_with_its_container() {
    let project = Project::new("left-lender", file());
    project.ok(&["up", "-d"]);
    let borrowing = format!(
        "services: {{two: {{x-rootfs: '@busybox@', command: sleep 1000, volumes_from: ['container:{}-one-1']}}}}",
        project.name
    );
    let other = Project::new("left-borrower", &borrowing);
    other.ok(&["up", "-d"]);
    let read = || other.ok(&["exec", "-T", "two", "cat", "/own/file", "/two/file"]);
    for (word, args) in
        [("renewed", ["up", "-dV", "--force-recreate", "-t0"].as_slice()), ("gone", &["down", "-v"])]
    {
        write(&project, word);
        let output = project.run(args);
        let error = text(&output.stderr);
        let kept = format!("its volume is kept: {}-two-1 of another stack has it", other.name);
        assert!(output.status.success() && error.matches(&kept).count() == 2, "{error}");
        assert_eq!(read(), format!("{word}\n{word}\n"));
        if word == "renewed" {
            // What it has is the lender's new one from its next start.
            assert_eq!(project.ok(&["exec", "-T", "one", "ls", "/own"]), "");
            other.ok(&["up", "-d", "--force-recreate", "-t", "0"]);
        }
    }
    // Nobody has the first two any more, and somebody the others.
    assert_eq!(project.left_volumes().len(), 2);
    other.ok(&["down", "-t", "0"]);
    let left = project.left_volumes();
    assert_eq!(left.len(), 4);
    project.ok(&[&["volume", "rm"], left.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat());
    other.down();
    project.down();
}

#[test]
fn they_are_not_lost_with_the_record_of_their_container() {
    let project = Project::new("left-lost", file());
    project.ok(&["up", "-d"]);
    write(&project, "kept");
    project.ok(&["stop", "-t", "0"]);
    project.kill_both();
    let record = Path::new("/var/lib/compose/stacks")
        .join(&project.name)
        .join(format!("containers/{}-one-1/record.json", project.name));
    fs::write(record, "{").unwrap();
    project.ok(&["up", "-d"]);
    let left = project.left_volumes();
    assert_eq!(left.len(), 2);
    for folder in folders(&project) {
        assert_eq!(fs::read_to_string(Path::new(&folder).join("file")).unwrap(), "kept\n");
    }
    project.ok(&["volume", "rm", &left[0], &left[1]]);
    project.down();
}

#[test]
fn an_up_that_fails_leaves_none() {
    let broken = file().replace("sleep 1000", "no-such-program");
    let project = Project::new("left-failed", &broken);
    let output = project.run(&["up", "-d"]);
    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
    assert_eq!(project.left_volumes(), [] as [String; 0]);
    project.write("compose.yaml", file());
    project.ok(&["up", "-d"]);
    project.write(
        "compose.yaml",
        &format!("{}  two: {{x-rootfs: '@busybox@', command: no-such-program, volumes: [/v]}}\n", file()),
    );
    project.fails(&["up", "-d"]);
    assert_eq!(project.left_volumes(), [] as [String; 0]);
    project.down();
}

#[test]
fn whoever_has_volumes_that_are_renewed_gets_the_new_ones() {
    let rest = "  two: {x-rootfs: '@busybox@', command: sleep 1000, volumes_from: [one]}\n";
    let project = Project::new("left-renewed", &format!("{}{rest}", file()));
    project.ok(&["up", "-d"]);
    write(&project, "old");
    project.write("compose.yaml", &format!("{}{rest}", file().replacen("sleep 1000", "sleep 1001", 1)));
    project.ok(&["up", "-d", "-V", "-t", "0"]);
    write(&project, "new");
    assert_eq!(project.ok(&["exec", "-T", "two", "cat", "/own/file", "/two/file"]), "new\nnew\n");
    project.down();
}
