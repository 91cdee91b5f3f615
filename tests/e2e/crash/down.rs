//! `down` is killed, with the processes behind the stack or without: another one takes away all that is left.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::{Project, ended, pidfd};

const FILE: &str = r#"
services:
  one: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 32m }
  two: { x-rootfs: @busybox@, command: sleep 1000 }
"#;

/// Numbers below others, as good as random (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn down(project: &Project) -> Child {
    project.command(&["down", "-t", "0"]).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_at_any_moment_leaves_nothing_to_the_next() {
    let rounds: u64 =
        std::env::var("COMPOSER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4) * 10;
    let mut chance = Chance(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let project = Project::new("killed-down", FILE);
    project.ok(&["up", "-d"]);
    let begun = Instant::now();
    down(&project).wait().unwrap();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    for round in 0..rounds {
        project.ok(&["up", "-d"]);
        let mut client = down(&project);
        // The moment is the test's, so there is nothing to wait for. Every other one is near the end, when records go.
        let from = if round % 2 == 0 { 0 } else { whole / 2 };
        std::thread::sleep(Duration::from_micros(from + chance.below(whole - from)));
        let mut victims: Vec<i32> = vec![client.id().cast_signed()];
        for program in ["compose-keeper", "compose-supervisor"] {
            if chance.below(4) > 0 {
                let at = usize::try_from(chance.below(2)).unwrap().min(victims.len());
                victims.splice(at..at, project.processes(program));
            }
        }
        for victim in victims {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
        }
        client.wait().unwrap();
        let mut next = down(&project);
        ended(&pidfd(next.id().cast_signed()));
        assert!(next.wait().unwrap().success());
        project.assert_nothing_left();
    }
}
