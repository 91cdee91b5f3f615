//! Networks that one stack has made for itself and others join, by `external` or by the same `name`.

use std::path::Path;
use std::process::Stdio;

use crate::stack::{Project, text};

/// A service that serves a page of its name, with these networks of its own and of the file.
pub fn serving(service: &str, on: &str, networks: &str) -> String {
    format!(
        "services:\n  {service}:\n    x-rootfs: @busybox@\n    command: [sh, -c, 'mkdir /www; echo {service} > \
         /www/index.html; exec httpd -f -p 80 -h /www']\n    networks: {on}\n    x-probe: {{tcp: 80}}\nnetworks:\n  {networks}\n"
    )
}

/// How often a death is tried; more of them by hand.
fn rounds() -> u64 {
    std::env::var("COMPOSER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(8)
}

pub fn page(from: &Project, service: &str, of: &str) -> String {
    from.ok(&["exec", "-T", service, "wget", "-q", "-O", "-", &format!("http://{of}/")])
}

/// Nothing of a network is left.
pub fn is_gone(project: &Project, network: &str, bridge: &str) {
    let left = project.ok(&["network", "ls", "--format", "json"]);
    assert!(!left.contains(&format!("\"{network}\"")), "{left}");
    assert!(!Path::new("/sys/class/net").join(bridge).exists(), "its bridge {bridge} is left");
    for path in ["/var/lib/compose/networks", "/run/compose/host/networks"] {
        let files = std::fs::read_dir(path).into_iter().flatten().flatten();
        let names: Vec<String> = files.map(|file| file.file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.starts_with(network)), "{path}: {names:?}");
    }
    for file in std::fs::read_dir("/run/compose/host").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        assert!(!text.contains(network), "{} still names it: {text}", file.path().display());
    }
}

#[test]
fn a_stack_joins_the_default_network_of_another() {
    let front = Project::new("joined-front", &serving("front", "[default]", "default: {}"));
    let network = format!("{}_default", front.name);
    let bridge = composer_network::names::bridge(&front.name, "default");
    front.ok(&["up", "-d", "--wait"]);
    let before = front.field("front", "ID");
    let joins = serving("back", "[front, default]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("joined-back", &joins);
    // Nothing is changed by a plan.
    back.ok(&["up", "--dry-run"]);
    assert!(!Path::new("/var/lib/compose/networks").join(format!("{network}.json")).exists());
    back.ok(&["up", "-d", "--wait"]);
    assert_eq!(page(&back, "back", "front"), "front\n");
    assert_eq!(page(&front, "front", "back"), "back\n");
    // The container of before serves on, and a change of the stack that shared it touches nothing of it.
    front.ok(&["up", "-d", "--wait"]);
    assert_eq!(front.field("front", "ID"), before);
    assert_eq!(page(&back, "back", "front"), "front\n");
    let shown: serde_json::Value =
        serde_json::from_str(&front.ok(&["network", "inspect", &network])).unwrap();
    assert_eq!(shown[0]["Containers"].as_object().unwrap().len(), 2, "{shown}");
    assert_eq!(shown[0]["Labels"]["com.docker.compose.project"], front.name, "{shown}");
    let (_, message) = front.fails(&["network", "rm", &network]);
    assert!(message.contains("is on it: `compose -p"), "{message}");
    // It stays while somebody is on it, and the stack that made it finds it again.
    let output = front.run(&["down"]);
    let said = text(&output.stderr);
    let stays = format!("network {network} stays: stack {} is on it", back.name);
    assert!(output.status.success() && said.contains(&stays), "{said}");
    assert!(Path::new("/sys/class/net").join(&bridge).exists());
    front.ok(&["up", "-d", "--wait"]);
    assert_eq!(page(&back, "back", "front"), "front\n");
    assert_eq!(page(&front, "front", "back"), "back\n");
    front.ok(&["down"]);
    // The last to leave takes it along.
    let project = Project::new("joined-witness", "services: {}\n");
    back.down();
    is_gone(&project, &network, &bridge);
    front.down();
}

#[test]
fn the_stack_that_made_it_is_the_last_to_leave_and_takes_it_along() {
    let front = Project::new("joined-first", &serving("front", "[default]", "default: {}"));
    let network = format!("{}_default", front.name);
    front.ok(&["up", "-d", "--wait"]);
    let joins = serving("back", "[front]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("joined-then", &joins);
    back.ok(&["up", "-d", "--wait"]);
    back.down();
    assert_eq!(page(&front, "front", "front"), "front\n");
    let bridge = composer_network::names::bridge(&front.name, "default");
    let witness = Project::new("joined-witness-too", "services: {}\n");
    let output = front.run(&["down"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&format!("Network {network}")), "{}", text(&output.stderr));
    is_gone(&witness, &network, &bridge);
    front.down();
}

#[test]
fn two_stacks_that_give_a_network_one_name_share_it() {
    let name = format!("joint-{}", std::process::id());
    let (shown, bridge) = (format!("joint: {{name: {name}}}"), format!("cmpj{}", std::process::id()));
    let chosen =
        format!("joint: {{name: {name}, driver_opts: {{com.docker.network.bridge.name: {bridge}}}}}");
    let one = Project::new("joint-one", &serving("one", "[joint]", &chosen));
    let two = Project::new("joint-two", &serving("two", "[joint]", &shown));
    one.ok(&["up", "-d", "--wait"]);
    let output = two.run(&["up", "-d", "--wait"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("network {name} is one that stack {} has made", one.name)), "{said}");
    assert_eq!(page(&one, "one", "two"), "two\n");
    assert_eq!(page(&two, "two", "one"), "one\n");
    let addresses = [(&one, "one"), (&two, "two")]
        .map(|(stack, service)| stack.ok(&["exec", "-T", service, "hostname", "-i"]).trim().to_owned());
    assert_ne!(addresses[0], addresses[1]);
    // Neither gets an address that the other has.
    let external = shown.replace("joint: {", "joint: {external: true, ");
    let wants =
        serving("two", "{joint: {ipv4_address: ADDRESS}}", &external).replace("ADDRESS", &addresses[0]);
    two.write("compose.yaml", &wants);
    let (_, message) = two.fails(&["up", "-d"]);
    assert!(
        message.contains(&format!("{} is taken by container {}-one-1", addresses[0], one.name)),
        "{message}"
    );
    // Made otherwise it cannot be while another is on it.
    one.write(
        "compose.yaml",
        &serving("one", "[joint]", &chosen.replace("name: joint", "internal: true, name: joint")),
    );
    let (_, message) = one.fails(&["up", "-d"]);
    assert!(message.contains("is configured otherwise now") && message.contains(&two.name), "{message}");
    assert_eq!(page(&two, "two", "one"), "one\n");
    two.down();
    let witness = Project::new("joint-witness", "services: {}\n");
    // With nobody else on it, it is made anew, with the bridge that it had.
    one.ok(&["up", "-d", "--wait"]);
    let shown: serde_json::Value = serde_json::from_str(&one.ok(&["network", "inspect", &name])).unwrap();
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["Internal"]), (1, &true.into()), "{shown}");
    assert_eq!(shown[0]["Options"]["com.docker.network.bridge.name"], bridge.as_str(), "{shown}");
    one.down();
    is_gone(&witness, &name, &bridge);
}

#[test]
fn a_shared_network_outlives_the_death_of_those_who_shared_it() {
    let front = Project::new("joined-dying", &serving("front", "[default]", "default: {}"));
    let network = format!("{}_default", front.name);
    front.ok(&["up", "-d", "--wait"]);
    // Nobody is there to ask: what runs is adopted first.
    front.kill_processes("compose-keeper");
    front.kill_processes("compose-supervisor");
    let joins = serving("back", "[front]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("joined-living", &joins);
    back.ok(&["up", "-d", "--wait"]);
    assert_eq!(page(&back, "back", "front"), "front\n");
    for project in [&front, &back] {
        project.kill_processes("compose-keeper");
        project.kill_processes("compose-supervisor");
    }
    front.ok(&["restart"]);
    back.ok(&["restart"]);
    front.ok(&["up", "-d", "--wait"]);
    back.ok(&["up", "-d", "--wait"]);
    assert_eq!(page(&back, "back", "front"), "front\n");
    assert_eq!(page(&front, "front", "back"), "back\n");
    let bridge = composer_network::names::bridge(&front.name, "default");
    let witness = Project::new("joined-dying-witness", "services: {}\n");
    front.ok(&["down"]);
    back.down();
    is_gone(&witness, &network, &bridge);
    front.down();
}

#[test]
fn a_supervisor_that_dies_while_it_shares_leaves_nothing_wrong() {
    for round in 0..rounds() {
        let front = Project::new(&format!("sharer-{round}"), &serving("front", "[default]", "default: {}"));
        let network = format!("{}_default", front.name);
        front.ok(&["up", "-d", "--wait"]);
        let joins = serving("back", "[front]", &format!("front: {{external: true, name: {network}}}"));
        let back = Project::new(&format!("sharer-joins-{round}"), &joins);
        let quietly = |project: &Project, args: &[&str]| {
            project.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut joining = quietly(&back, &["up", "-d", "--wait"]);
        // Somewhere in its course.
        std::thread::sleep(std::time::Duration::from_millis(round * 4));
        front.kill_processes("compose-keeper");
        front.kill_processes("compose-supervisor");
        joining.wait().unwrap();
        back.ok(&["up", "-d", "--wait"]);
        front.ok(&["up", "-d", "--wait"]);
        assert_eq!(page(&back, "back", "front"), "front\n");
        assert_eq!(page(&front, "front", "back"), "back\n");
        let bridge = composer_network::names::bridge(&front.name, "default");
        let witness = Project::new(&format!("sharer-witness-{round}"), "services: {}\n");
        // Both at once: one of them is the last.
        let mut ends = [&front, &back].map(|project| quietly(project, &["down"]));
        ends.iter_mut().for_each(|end| assert!(end.wait().unwrap().success()));
        is_gone(&witness, &network, &bridge);
        front.down();
        back.down();
    }
}

#[test]
fn a_network_on_the_hosts_interface_is_not_joined() {
    let file = "services: {a: {x-rootfs: @busybox@, command: sleep 1000, networks: [lan]}}\nnetworks:\n  lan: {driver: macvlan}\n";
    let one = Project::new("unjoined", file);
    one.ok(&["up", "-d"]);
    let network = format!("{}_lan", one.name);
    let joins = serving("back", "[lan]", &format!("lan: {{external: true, name: {network}}}"));
    let two = Project::new("unjoining", &joins);
    let (_, message) = two.fails(&["up", "-d"]);
    let why =
        format!("network {network} is that of stack {} alone: it is on an interface of the host's", one.name);
    assert!(message.contains(&why) && message.contains("compose.yaml:"), "{message}");
    one.down();
}

#[test]
fn stacks_that_come_up_at_once_with_one_name_are_on_one_network() {
    let name = format!("rush-{}", std::process::id());
    let stacks: Vec<Project> = (0..5)
        .map(|at| {
            let file = serving(&format!("s{at}"), "[rush, default]", &format!("rush: {{name: {name}}}"));
            Project::new(&format!("rush-{at}"), &file)
        })
        .collect();
    let all = |args: &[&str]| {
        let started = stacks
            .iter()
            .map(|stack| stack.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        for child in started.collect::<Vec<_>>() {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        }
    };
    let witness = Project::new("rush-witness", "services: {}\n");
    for _ in 0..2 {
        all(&["up", "-d", "--wait"]);
        let shown = witness.ok(&["network", "ls", "--filter", &format!("name={name}"), "-q"]);
        assert_eq!(shown.lines().count(), 1, "{shown}");
        for (at, stack) in stacks.iter().enumerate() {
            let next = format!("s{}", (at + 1) % stacks.len());
            assert_eq!(page(stack, &format!("s{at}"), &next), format!("{next}\n"));
        }
        all(&["down"]);
        for stack in &stacks {
            is_gone(&witness, &name, &composer_network::names::bridge(&stack.name, "rush"));
        }
    }
    stacks.into_iter().for_each(Project::down);
}

#[test]
fn what_a_stack_has_shared_stays_apart_from_what_it_makes_in_its_place() {
    let front = Project::new("replaced", &serving("front", "[y]", "y: {}"));
    let network = format!("{}_y", front.name);
    // One that is no service's replica is on it as well.
    let oneoff = front.ok(&["run", "-d", "front", "sleep", "1000"]);
    let joins = serving("back", "[y]", &format!("y: {{external: true, name: {network}}}"));
    let back = Project::new("replacing", &joins);
    back.ok(&["up", "-d", "--wait"]);
    let inspect = |name: &str| -> serde_json::Value {
        serde_json::from_str(&back.ok(&["network", "inspect", name])).unwrap()
    };
    let shown = inspect(&network);
    let on = shown[0]["Containers"].as_object().unwrap();
    let addresses: std::collections::BTreeSet<&str> =
        on.values().map(|container| container["IPv4Address"].as_str().unwrap()).collect();
    assert_eq!((on.len(), addresses.len()), (2, 2), "{shown}");
    front.ok(&["rm", "-sf"]);
    let _ = front.run(&["kill", oneoff.trim()]);
    front.ok(&["down"]);
    let other = format!("other-{}", std::process::id());
    front.write("compose.yaml", &serving("front", "[y]", &format!("y: {{name: {other}}}")));
    front.ok(&["up", "-d", "--wait"]);
    let gateway = shown[0]["IPAM"]["Config"][0]["Gateway"].as_str().unwrap();
    back.ok(&["exec", "-T", "back", "ping", "-c", "1", "-W", "5", gateway]);
    assert_ne!(inspect(&other)[0]["Id"], shown[0]["Id"]);
    assert_ne!(inspect(&other)[0]["IPAM"]["Config"], shown[0]["IPAM"]["Config"]);
    front.ok(&["down"]);
    back.ok(&["exec", "-T", "back", "ping", "-c", "1", "-W", "5", gateway]);
    let witness = Project::new("replaced-witness", "services: {}\n");
    back.down();
    is_gone(&witness, &network, &composer_network::names::bridge(&front.name, "y"));
    front.down();
}

#[test]
fn a_stack_that_waits_for_another_shares_its_network_meanwhile() {
    let file = "services:\n  proxy:\n    x-rootfs: @busybox@\n    command: sleep 1000\n    healthcheck: {test: 'nslookup \
                back', interval: 200ms, start_period: 30s, start_interval: 200ms, retries: 200}\n  after:\n    x-rootfs: @busybox@\n    \
                command: sleep 1000\n    depends_on: {proxy: {condition: service_healthy}}\n";
    let front = Project::new("waits-for-joiner", file);
    front.ok(&["up", "-d", "proxy"]);
    let mut waiting =
        front.command(&["up", "-d"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let network = format!("{}_default", front.name);
    let joins = serving("back", "[front]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("awaited-joiner", &joins);
    back.ok(&["up", "-d", "--wait"]);
    assert!(waiting.wait().unwrap().success());
    back.down();
    front.down();
}

#[test]
fn a_stack_that_goes_while_another_joins_keeps_it_from_nothing() {
    let name = format!("going-{}", std::process::id());
    let slow = "services:\n  one:\n    x-rootfs: @busybox@\n    command: [sh, -c, 'trap \"echo going\" TERM; echo here; while :; do sleep 0.05; \
                done']\n    stop_grace_period: 4s\n    networks: [hub]\nnetworks:\n  hub: {name: NAME}\n";
    let one = Project::new("going-one", &slow.replace("NAME", &name));
    let two = Project::new("going-two", &serving("two", "[hub]", &format!("hub: {{name: {name}}}")));
    one.ok(&["up", "-d"]);
    one.follow_until("one", "here");
    let mut going = one.command(&["down"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    one.follow_until("one", "going");
    two.ok(&["up", "-d", "--wait"]);
    assert!(going.wait().unwrap().success());
    assert_eq!(page(&two, "two", "two"), "two\n");
    let witness = Project::new("going-witness", "services: {}\n");
    let bridge = composer_network::names::bridge(&two.name, &format!("={name}"));
    two.down();
    is_gone(&witness, &name, &bridge);
    one.down();
}

#[test]
fn the_last_to_leave_may_be_killed_meanwhile() {
    let rounds = rounds();
    let front = Project::new("left-by", &serving("front", "[default]", "default: {}"));
    let network = format!("{}_default", front.name);
    let joins = serving("back", "[front]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("left-by-last", &joins);
    let bridge = composer_network::names::bridge(&front.name, "default");
    let witness = Project::new("left-witness", "services: {}\n");
    for round in 0..rounds {
        front.ok(&["up", "-d"]);
        back.ok(&["up", "-d"]);
        front.ok(&["down"]);
        let quietly = (Stdio::null(), Stdio::null());
        let mut going =
            back.command(&["down", "-t", "0"]).stdout(quietly.0).stderr(quietly.1).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 160 / rounds));
        back.kill_processes("compose-supervisor");
        if round % 2 == 0 {
            back.kill_processes("compose-keeper");
        }
        going.wait().unwrap();
        back.ok(&["down"]);
        front.ok(&["down"]);
        is_gone(&witness, &network, &bridge);
    }
    back.down();
    front.down();
}

#[test]
fn a_stack_comes_up_while_the_last_other_one_leaves_what_it_had_shared() {
    let front = Project::new("returning", &serving("front", "[default]", "default: {}"));
    let network = format!("{}_default", front.name);
    let joins = serving("back", "[front]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("leaving", &joins);
    let witness = Project::new("returning-witness", "services: {}\n");
    for round in 0..6 {
        front.ok(&["up", "-d"]);
        back.ok(&["up", "-d"]);
        front.ok(&["down", "-t", "0"]);
        let leaving = back.command(&["down", "-t", "0"]).stderr(Stdio::null()).spawn();
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 10));
        front.ok(&["up", "-d", "--wait"]);
        assert!(leaving.unwrap().wait().unwrap().success());
        assert_eq!(page(&front, "front", "front"), "front\n");
        front.ok(&["down", "-t", "0"]);
        is_gone(&witness, &network, &composer_network::names::bridge(&front.name, "default"));
    }
    front.down();
    back.down();
}

#[test]
fn one_that_is_to_be_made_anew_stays_as_it_is_where_another_stack_joins_meanwhile() {
    let slow = |more: &str| {
        format!(
            "services:\n  one:\n    x-rootfs: @busybox@\n    command: [sh, -c, 'trap \"echo going; until test -e /shared/go; do sleep 0.05; done; exit\" TERM; \
             echo here; while :; do sleep 0.1; done']\n    stop_grace_period: 100s\n    volumes: ['./shared:/shared']\nnetworks:\n  default: {{{more}}}\n"
        )
    };
    let one = Project::new("remaking", &slow(""));
    std::fs::create_dir(one.folder.join("shared")).unwrap();
    let network = format!("{}_default", one.name);
    let joins = serving("two", "[hub]", &format!("hub: {{external: true, name: {network}}}"));
    let two = Project::new("joining-then", &joins);
    one.ok(&["up", "-d"]);
    two.ok(&["up", "-d"]);
    two.ok(&["down"]);
    one.write("compose.yaml", &slow("internal: true"));
    one.follow_until("one", "here");
    let remaking = one.command(&["up", "-d"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    one.follow_until("one", "going");
    two.ok(&["up", "-d", "--wait"]);
    one.write("shared/go", "");
    let output = remaking.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("network {network} stays as it was made")), "{said}");
    assert!(two.ok(&["exec", "-T", "two", "nslookup", "one"]).contains("Address"));
    let listed = two.ok(&["network", "ls", "--filter", &format!("name={network}"), "-q"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    two.down();
    // Alone on it, the stack has it as its file says.
    one.ok(&["up", "-d"]);
    let shown: serde_json::Value = serde_json::from_str(&one.ok(&["network", "inspect", &network])).unwrap();
    assert_eq!(shown[0]["Internal"], true, "{shown}");
    one.down();
}
