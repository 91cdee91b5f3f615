//! Limits of bandwidth: of a service, of the stack as a whole; changed, mended, and gone.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use composer_network::Direction;

use crate::stack::{Project, text};

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Which of the stack's devices are there.
fn devices(project: &Project) -> [bool; 2] {
    Direction::BOTH.map(|way| Path::new("/sys/class/net").join(way.device(&project.name)).exists())
}

fn down(project: Project) {
    let name = project.name.clone();
    project.down();
    for way in Direction::BOTH {
        let device = way.device(&name);
        assert!(!Path::new("/sys/class/net").join(&device).exists(), "{device} is left");
    }
}

const PAGES: &str = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir /www; head -c 1000000 /dev/zero > /www/page; exec httpd -f -p 80 -h /www"]
    x-bandwidth: { egress: 8mbit }
    x-probe: { tcp: 80 }
    stop_grace_period: 0s
  client: { x-rootfs: @busybox@, command: sleep 1000, stop_grace_period: 0s }
"#;

/// Loads the page, and fails where that was sooner than this limit lets anybody.
fn slowly(project: &Project, millis: u64) {
    let begun = Instant::now();
    let size = project.ok(&["exec", "-T", "client", "sh", "-c", "wget -q -O - http://web/page | wc -c"]);
    let took = begun.elapsed();
    assert_eq!(size.trim(), "1000000");
    assert!(took >= Duration::from_millis(millis), "{took:?}");
}

#[test]
fn what_is_sent_and_received_takes_its_time() {
    let project = Project::new("bandwidth", PAGES);
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(devices(&project), [false, true]);
    // A second at eight megabits, but for what an idle link may send at once and what is waiting in the end.
    slowly(&project, 800);
    let pid = project.field("client", "Pid");
    // The other end, the other direction; and of the first nothing is left.
    let file = PAGES.replace("    x-bandwidth: { egress: 8mbit }\n", "");
    let file = file.replace("client: { ", "client: { x-bandwidth: { ingress: 8mbit }, ");
    project.write("compose.yaml", &file);
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains("x-bandwidth of service client has changed"), "{plan}");
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("client", "Pid"), pid);
    assert_eq!(devices(&project), [true, false]);
    slowly(&project, 800);
    // Somebody takes the device away, and with it the link; a crash in between changes nothing.
    ip(&format!("link del dev {}", Direction::Ingress.device(&project.name)));
    project.kill_processes("compose-supervisor");
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains("what limits its bandwidth is gone"), "{plan}");
    project.ok(&["up", "-d"]);
    assert_eq!((project.field("client", "Pid"), devices(&project)), (pid.clone(), [true, false]));
    slowly(&project, 800);
    // Or what leads the link there.
    let veth = composer_network::names::veth(&project.name, &format!("{}-client-1", project.name), "default");
    let removed = Command::new("tc").args(["qdisc", "del", "dev", &veth, "clsact"]).status().unwrap();
    assert!(removed.success());
    slowly(&project, 0);
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains("what limits its bandwidth is gone"), "{plan}");
    project.ok(&["up", "-d"]);
    assert!(project.ok(&["up", "-d", "--dry-run"]).starts_with("nothing to do"));
    assert_eq!(project.field("client", "Pid"), pid);
    slowly(&project, 800);
    // Started again it is limited as before, whatever becomes of its number.
    project.ok(&["restart", "client"]);
    slowly(&project, 800);
    let pid = project.field("client", "Pid");
    // The stack as a whole, in place.
    let capped = format!("x-resources: {{ limits: {{ bandwidth: {{ egress: 4mbit }} }} }}\n{file}");
    project.write("compose.yaml", &capped);
    project.ok(&["up", "-d"]);
    assert_eq!((project.field("client", "Pid"), devices(&project)), (pid.clone(), [true, true]));
    slowly(&project, 1600);
    let stats = project.ok(&["stats", "--no-stream", "--format", "json"]);
    let client = stats.lines().find(|line| line.contains("client")).expect("a line of the client's");
    assert!(client.contains(r#""NetLimit":"8mbit / 4mbit""#), "{stats}");
    // Limits hold while nobody keeps the stack, and whoever takes it up can lift them.
    for program in ["compose-keeper", "compose-supervisor"] {
        project.kill_processes(program);
    }
    assert_eq!(devices(&project), [true, true]);
    project.write("compose.yaml", &PAGES.replace("    x-bandwidth: { egress: 8mbit }\n", ""));
    project.ok(&["up", "-d"]);
    assert_eq!((project.field("client", "Pid"), devices(&project)), (pid, [false, false]));
    let stats = project.ok(&["stats", "--no-stream", "--format", "json"]);
    assert!(!stats.contains("NetLimit"), "{stats}");
    slowly(&project, 0);
    down(project);
}

/// What needs iperf3.
mod measured {
    use std::net::TcpListener;
    use std::process::{Child, Stdio};
    use std::thread;

    use super::{Command, Direction, Instant, devices, down};
    use crate::stack::Project;

    const MEGABIT: f64 = 1e6;

    /// A listening service, and one that connects to it, on a network with both families.
    fn file(listening: &str) -> String {
        format!(
            r#"
services:
  listen: {{ x-rootfs: host, command: "iperf3 -s --forceflush", x-probe: {{ log: listening }}, stop_grace_period: 0s{listening} }}
  client: {{ x-rootfs: host, command: "sleep 1000", stop_grace_period: 0s }}
networks:
  default: {{ enable_ipv6: true }}
"#
        )
    }

    /// Payload in bits a second that has arrived at the receiver of `iperf3 -c …` in a service.
    fn arrived(project: &Project, service: &str, arguments: &str) -> f64 {
        let mut command = vec!["exec", "-T", service, "iperf3", "-J"];
        command.extend(arguments.split(' '));
        let answer: serde_json::Value = serde_json::from_str(&project.ok(&command)).unwrap();
        let end = &answer["end"];
        if arguments.contains("-u") {
            let sum = &end["sum"];
            let lost = sum["lost_percent"].as_f64().unwrap() / 100.0;
            return sum["bytes"].as_f64().unwrap() * 8.0 * (1.0 - lost) / sum["seconds"].as_f64().unwrap();
        }
        end["sum_received"]["bits_per_second"].as_f64().unwrap()
    }

    /// How much of an IP packet of 1500 bytes is TCP's payload, with timestamps.
    const TCP: f64 = 1448.0 / 1500.0;
    /// The same over IPv6.
    const TCP6: f64 = 1428.0 / 1500.0;
    /// Of UDP, in packets of 1400 bytes of payload.
    const UDP: f64 = 1400.0 / 1428.0;

    /// Payload comes at the limit's rate, which is one of IP packets, within 5 %. What measures may itself get too little of
    /// the processors while other tests run, so one of three tries counts; none may be above.
    #[track_caller]
    fn near(limit: f64, share: f64, measured: impl Fn() -> f64) {
        let expected = limit * share;
        let tries: Vec<f64> = (0..3)
            .map(|_| measured() / expected)
            .scan(false, |is_kept, rate| (!std::mem::replace(is_kept, rate >= 0.95)).then_some(rate))
            .collect();
        assert!(
            tries.iter().all(|rate| *rate <= 1.05) && tries.iter().any(|rate| *rate >= 0.95),
            "of {:.2} Mbit/s arrived, as parts of it: {tries:?}",
            expected / MEGABIT
        );
    }

    #[test]
    fn a_service_has_its_rate_in_both_directions() {
        let limits = ", x-bandwidth: { ingress: 20mbit, egress: 10mbit }";
        let project = Project::new("bandwidth-rates", &file(limits));
        project.ok(&["up", "-d", "--wait"]);
        let client = |arguments: &str| arrived(&project, "client", arguments);
        near(20.0 * MEGABIT, TCP, || client("-c listen -4 -t 5"));
        near(10.0 * MEGABIT, TCP, || client("-c listen -4 -t 5 -R"));
        // Whatever the protocol.
        near(20.0 * MEGABIT, TCP6, || client("-c listen -6 -t 5"));
        near(20.0 * MEGABIT, UDP, || client("-c listen -4 -u -b 40M -l 1400 -t 5"));
        // What did not fit is counted.
        let stats = project.ok(&["stats", "--no-stream", "--format", "json", "listen"]);
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        assert_eq!(stats["NetLimit"], "20mbit / 10mbit");
        let drops = stats["NetDrops"].as_str().unwrap().split_once(" / ").unwrap();
        assert!(drops.0.parse::<u64>().unwrap() > 0, "{stats}");
        let table = project.ok(&["stats", "--no-stream"]);
        assert!(table.contains("NET LIMIT") && table.contains("20mbit / 10mbit"), "{table}");
        down(project);
    }

    #[test]
    fn low_and_high_rates_are_kept_and_change_under_a_running_program() {
        let project = Project::new("bandwidth-range", &file(", x-bandwidth: { ingress: 256kbit }"));
        project.ok(&["up", "-d", "--wait"]);
        let pid = project.field("listen", "Pid");
        near(MEGABIT * 0.256, TCP, || arrived(&project, "client", "-c listen -4 -t 5"));
        project.write("compose.yaml", &file(", x-bandwidth: { ingress: 1mbit }"));
        project.ok(&["up", "-d"]);
        near(MEGABIT, TCP, || arrived(&project, "client", "-c listen -4 -t 5"));
        project.write("compose.yaml", &file(", x-bandwidth: { ingress: 200mbit }"));
        project.ok(&["up", "-d"]);
        near(200.0 * MEGABIT, TCP, || arrived(&project, "client", "-c listen -4 -t 5"));
        assert_eq!(project.field("listen", "Pid"), pid);
        down(project);
    }

    /// A process that ends with the test.
    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// iperf3 on the host, outside of any stack, and its port.
    fn outside() -> (Ended, String) {
        let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port().to_string();
        let mut command = Command::new("iperf3");
        command.args(["-s", "-p", &port, "--forceflush"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("iperf3 is installed (scripts/check does)");
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut output, &mut line).unwrap() > 0, "iperf3 has ended");
        }
        // Whoever writes into a pipe that nobody has open any more ends.
        thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        (Ended(child), port)
    }

    #[test]
    fn the_cap_of_a_stack_is_shared_by_its_services() {
        let file = r#"
x-resources: { limits: { bandwidth: { egress: 20mbit } } }
services:
  one: { x-rootfs: host, command: "sleep 1000", stop_grace_period: 0s }
  two: { x-rootfs: host, command: "sleep 1000", stop_grace_period: 0s }
  slow: { x-rootfs: host, command: "sleep 1000", stop_grace_period: 0s, x-bandwidth: { egress: 2mbit } }
"#;
        let project = Project::new("bandwidth-cap", file);
        project.ok(&["up", "-d"]);
        assert_eq!(devices(&project), [false, true]);
        let route = project.ok(&["exec", "-T", "one", "ip", "route", "show", "default"]);
        let gateway = route.split(' ').nth(2).expect("a gateway").to_owned();
        let servers = [outside(), outside(), outside()];
        let measure = || -> Vec<f64> {
            thread::scope(|scope| {
                let clients = ["one", "two", "slow"].into_iter().zip(&servers).map(|(service, (_, port))| {
                    let arguments = format!("-c {gateway} -p {port} -t 5");
                    let project = &project;
                    scope.spawn(move || arrived(project, service, &arguments))
                });
                let clients: Vec<_> = clients.collect();
                clients.into_iter().map(|client| client.join().unwrap()).collect()
            })
        };
        let sent = || -> u64 {
            let counters = composer_network::counters(&project.name).unwrap();
            let sent = counters.iter().filter(|((way, _), _)| *way == Direction::Egress);
            sent.map(|(_, counter)| counter.bytes).sum()
        };
        let rates = std::cell::RefCell::new(Vec::new());
        near(20.0 * MEGABIT, TCP, || {
            let (before, begun) = (sent(), Instant::now());
            *rates.borrow_mut() = measure();
            // By the frames of all three, as each has measured in a time of its own: on a machine that is busy the sum of
            // the rates of who began first and who ended last is more than there was at any time.
            let frames = (sent() - before) as f64 * 8.0 / begun.elapsed().as_secs_f64();
            assert!(frames <= 20.0 * MEGABIT * 1514.0 / 1500.0 * 1.05, "{:.2} Mbit/s", frames / MEGABIT);
            rates.borrow().iter().sum::<f64>().min(20.0 * MEGABIT * TCP)
        });
        let rates = rates.into_inner();
        assert!(rates[2] <= 2.0 * MEGABIT * 1.05, "{rates:?}");
        // Nobody is left behind: what the slow one does not take is the others', by halves.
        assert!(rates[0].min(rates[1]) >= rates[0].max(rates[1]) / 2.0, "{rates:?}");
        drop(servers);
        down(project);
    }
}
