//! `compose watch`.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::Project;

/// A watching `compose`, and what it says.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    fn start(project: &Project, args: &[&str]) -> Self {
        let mut child = project.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Returns when it has said this.
    fn until(&mut self, said: &str) {
        let found = self.lines.by_ref().map(Result::unwrap).any(|line| line.contains(said));
        assert!(found, "it ended without saying {said:?}");
    }

    /// Ends it as Ctrl-C does; its exit status.
    fn end(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
        let said: Vec<String> = self.lines.map(Result::unwrap).collect();
        assert!(!said.iter().any(|line| line.starts_with("error")), "{said:?}");
        self.child.wait().unwrap().code()
    }
}

#[test]
fn what_changes_is_copied_and_removed() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    develop:
      watch:
        - path: ./src
          action: sync+exec
          target: /app/src
          initial_sync: true
          ignore: ["*.log", "vendor/"]
          exec: { command: [sh, -c, "echo ran >> /tmp/ran"] }
"#;
    let project = Project::new("watch", file);
    fs::create_dir(project.folder.join("src")).unwrap();
    project.write("src/old", "old");
    project.write("src/gone", "gone");
    let mut watching = Watching::start(&project, &["watch"]);
    watching.until("Watch enabled");
    watching.until("copy service \"one\": done");
    let sh = |script: &str| project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    assert_eq!(sh("cd /app/src; cat old gone"), "oldgone");
    // All in one go, and what is ignored among it.
    fs::create_dir_all(project.folder.join("src/new/deep")).unwrap();
    fs::create_dir(project.folder.join("src/vendor")).unwrap();
    for file in ["src/new/deep/file", "src/vendor/file", "src/a.log", "src/old"] {
        project.write(file, "new");
    }
    fs::remove_file(project.folder.join("src/gone")).unwrap();
    // Who is slow to change things is followed in several steps, each with its program: a further one shows all of it.
    let mut becomes = |script: &str, wanted: &str| {
        for _ in 0..5 {
            watching.until("exec in service \"one\": done");
            if sh(script) == wanted {
                return;
            }
            project.write("src/old", "new");
        }
        assert_eq!(sh(script), wanted);
    };
    becomes("cd /app/src; find . -type f | sort; cat old new/deep/file", "./new/deep/file\n./old\nnewnew");
    // A folder that came later is watched too, and one that goes, goes.
    project.write("src/new/deep/later", "later");
    becomes("cat /app/src/new/deep/later || true", "later");
    fs::remove_dir_all(project.folder.join("src/new")).unwrap();
    becomes("ls /app/src; sort -u /tmp/ran", "old\nran\n");
    assert_eq!(watching.end(), Some(130));
    project.down();
}

#[test]
fn what_cannot_be_watched_says_why() {
    let service = |watch: &str| {
        format!(
            "services: {{one: {{x-rootfs: @busybox@, command: sleep 1000, develop: {{watch: [{watch}]}}}}}}"
        )
    };
    let project = Project::new("watch-wrong", &service(""));
    for (watch, why) in [
        ("", "none of the selected services is configured for watch"),
        ("{path: ., action: rebuild}", "`action: rebuild`"),
        ("{path: ./nosuch, action: restart}", "nosuch: No such file"),
        ("{path: ., action: sync+exec, target: /x}", "needs a command"),
        ("{path: ., action: restart, ignore: ['a{']}", "`ignore`"),
    ] {
        project.write("compose.yaml", &service(watch));
        let (code, error) = project.fails(&["watch", "--no-up"]);
        assert!(code == 1 && error.contains(why), "{watch}: {error}");
    }
    let (_, error) = project.fails(&["watch", "nosuch"]);
    assert!(error.contains("no such service: nosuch"), "{error}");
    project.down();
}

#[test]
fn one_that_cannot_be_synced_leaves_the_others_and_a_program_does_not_hold_it() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    scale: 2
    tmpfs: /app/busy
    develop:
      watch:
        - path: ./src
          action: sync
          target: /app
          initial_sync: true
        - path: ./run
          action: sync+exec
          target: /run-it
          exec: { command: [sh, -c, "echo begun > /proc/1/fd/1; exec sleep 1000"] }
"#;
    let project = Project::new("watch-fails", file);
    for folder in ["src/deep", "run"] {
        fs::create_dir_all(project.folder.join(folder)).unwrap();
    }
    project.write("src/deep/inner", "inner");
    let mut watching = Watching::start(&project, &["watch"]);
    watching.until("copy service \"one\": done");
    let sh =
        |index: &str, script: &str| project.ok(&["exec", "-T", "--index", index, "one", "sh", "-c", script]);
    fs::rename(project.folder.join("src/deep"), project.folder.join("moved")).unwrap();
    // A file in the place of a folder, and a link of the container's in the way of another.
    sh("2", "mkdir /outside; ln -s /outside /app/linked");
    fs::create_dir(project.folder.join("src/linked")).unwrap();
    for file in ["src/busy", "src/deep", "src/linked/file", "src/z"] {
        project.write(file, "new");
    }
    let end = "/run-it/end";
    watching.until("Syncing service \"one\"");
    // A mount cannot be replaced.
    watching.until("replace /app/busy");
    project.write("run/end", "x");
    // The program begins after all that came before it has been synced.
    project.follow_until("one", "begun");
    assert_eq!(sh("1", &format!("cat /app/deep /app/linked/file /app/z {end}")), "newnewnewx");
    assert_eq!(sh("2", "cat /app/deep /app/linked/file /app/z; ls /outside"), "newnewnew");
    assert_eq!(watching.end(), Some(130));
    project.down();
}
