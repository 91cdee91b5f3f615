//! `set --oom`: what happens when memory runs out is changed while programs run.

use super::{group, memory, pids};
use crate::stack::{Project, text};

const FILE: &str = r#"
x-resources: { limits: { memory: 256m } }
services:
  one:
    x-rootfs: @busybox@
    mem_limit: 48m
    memswap_limit: 48m
    tmpfs: /full
    x-oom: { policy: kill, hook: ["true"] }
    volumes: ["./shared:/shared"]
    command:
      - sh
      - -c
      - |
        echo ready; read line < /shared/go
        for part in $$(seq 56); do
          tries=0
          until dd if=/dev/zero of=/full/$$part bs=1M count=1; do
            # A system call waits for no memory (v1).
            tries=$$((tries+1)); test $$tries -lt 40 || exit 3; usleep 50000
          done
        done
        echo whole; exec sleep 1000
  free: { x-rootfs: @busybox@, command: sleep 1000 }
  waits: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 32m, oom_kill_disable: true }
"#;

/// A limit of `set`, with where it comes from.
fn shown(project: &Project, of: &str, key: &str) -> Option<(String, String)> {
    let one: serde_json::Value =
        serde_json::from_str(project.ok(&["set", of, "--format", "json"]).trim()).unwrap();
    let limits = one["Limits"].as_array().unwrap();
    let found = limits.iter().find(|limit| limit["Key"] == key)?;
    let word = |key: &str| found[key].as_str().unwrap().to_owned();
    Some((word("Value"), word("From")))
}

#[test]
fn a_policy_is_changed_while_its_program_runs() {
    let project = Project::new("set-oom", FILE);
    let shared = project.folder.join("shared");
    std::fs::create_dir(&shared).unwrap();
    nix::unistd::mkfifo(&shared.join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    project.follow_until("one", "ready");
    let before = pids(&project);
    let raise = ["set", "one", "--oom", "raise:24M:128M"];
    let change = "x-oom kill, hook true -> raise by 24 MiB to 128 MiB, hook true";
    let plan = project.ok(&[&raise[..], &["--dry-run"]].concat());
    assert!(plan.contains(&format!("update {}-one-1: {change}", project.name)), "{plan}");
    let told = project.run(&raise);
    assert!(told.status.success() && text(&told.stderr).contains("compose set --reset one"), "{told:?}");
    let raised = Some(("raise by 24 MiB to 128 MiB, hook true".to_owned(), "set".to_owned()));
    assert_eq!(shown(&project, "one", "x-oom"), raised);
    let events = project.ok(&["events", "--since", "1h", "--until", "0s"]);
    assert!(events.contains("x-oom=kill, hook true -> raise by 24 MiB to 128 MiB, hook true"), "{events}");
    // Neither the processes behind the stack nor the file take it back.
    project.kill_processes("compose-supervisor");
    let up = text(&project.run(&["up", "-d"]).stderr);
    assert!(up.contains(&format!("`compose set` has changed limits of one, which stand ({change})")), "{up}");
    assert_eq!(pids(&project), before);
    std::fs::write(shared.join("go"), "go\n").unwrap();
    // With the file's policy it is killed here.
    project.follow_until("one", "whole");
    assert_eq!(memory(&group(&project, "one-1")), 72);
    project.ok(&["up", "-d", "-t", "0", "--force-recreate", "one"]);
    assert_eq!(shown(&project, "one", "x-oom"), raised);
    let reset = text(&project.run(&["set", "--reset", "one"]).stderr);
    assert!(reset.contains("hook true -> kill, hook true"), "{reset}");
    assert_eq!(shown(&project, "one", "x-oom"), Some(("kill, hook true".to_owned(), "file".to_owned())));
    // What the file says anew of it counts again.
    project.ok(&["set", "one", "--oom", "pause"]);
    project.write("compose.yaml", &FILE.replace("policy: kill,", "policy: kill-group,"));
    project.ok(&["up", "-d"]);
    assert_eq!(
        shown(&project, "one", "x-oom"),
        Some(("kill-group, hook true".to_owned(), "file".to_owned()))
    );
    project.down();
}

#[test]
fn the_stacks_victim_is_set_and_what_no_file_could_say_is_refused() {
    let project = Project::new("set-victim", FILE);
    std::fs::create_dir(project.folder.join("shared")).unwrap();
    project.ok(&["up", "-d", "free", "waits"]);
    project.ok(&["set", "--oom", "newest"]);
    let newest = Some(("newest".to_owned(), "set".to_owned()));
    assert_eq!(shown(&project, "--stack", "x-oom.victim"), newest);
    for (args, part) in [
        (&["--oom", "newest"][..], "nothing to do: x-oom.victim of the stack is newest as it is"),
        (&["free", "--oom", "kill-group"], "nothing to do: x-oom of free is kill-group as it is"),
    ] {
        let told = text(&project.run(&[&["set"], args].concat()).stderr);
        assert!(told.starts_with(part), "{told}");
    }
    for (args, part) in [
        (&["--memory", "0"][..], "the stack: a victim is never chosen"),
        (&["--oom", "pause"], "a policy is that of services"),
        (&["free", "--oom", "newest"], "compose set --stack --oom"),
        (&["free", "--oom", "pause"], "free: `pause` needs a limit of memory"),
        (&["waits", "--oom", "pause"], "waits: it has `oom_kill_disable`"),
        (&["one", "--oom", "raise:8M:48M"], "one: `max` is not above the limit of memory, 48 MiB"),
        (&["one", "--oom", "raise:8M:257M"], "a limit of 257 MiB is more than the whole stack's 256 MiB"),
        (&["waits", "--oom", "raise:1k:64M"], "a step of 1 KiB is too small"),
        (&["waits", "--oom", "ask"], "write `kill`, `kill-group`, `pause` or `raise:STEP:MAX`"),
    ] {
        let (_, message) = project.fails(&[&["set"], args].concat());
        assert!(message.contains(part), "{args:?}: {message}");
    }
    project.ok(&["up", "-d", "free", "waits"]);
    assert_eq!(shown(&project, "--stack", "x-oom.victim"), newest);
    project.ok(&["set", "--reset"]);
    assert_eq!(shown(&project, "--stack", "x-oom.victim"), None);
    let events = project.ok(&["events", "--since", "1h", "--until", "0s"]);
    for part in ["x-oom.victim=none -> newest", "x-oom.victim=newest -> none"] {
        assert!(events.contains(part), "{events}");
    }
    project.down();
}
