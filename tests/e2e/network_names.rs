//! A network is one by its name, whatever the keys of files are, and a stack is on it for as long as it has somebody there.

use std::path::Path;

use crate::joined_networks::{is_gone, page, serving};
use crate::stack::{Project, text};

/// How many networks have this name.
fn count(witness: &Project, name: &str) -> usize {
    let listed = witness.ok(&["network", "ls", "--filter", &format!("name={name}"), "-q"]);
    listed.lines().count()
}

#[test]
fn two_keys_of_a_file_that_have_one_name_are_one_network() {
    let name = format!("once-{}", std::process::id());
    let file = format!(
        "services:\n  one: &page\n    x-rootfs: @busybox@\n    command: [sh, -c, 'mkdir /www; echo one > /www/index.html; exec httpd -f -p 80 \
         -h /www']\n    networks: [a]\n    x-probe: {{tcp: 80}}\n  two: {{<<: *page, networks: [b]}}\n  both: {{<<: *page, networks: {{a: {{aliases: \
         [ay]}}, b: {{aliases: [bee]}}}}}}\nnetworks:\n  a: {{name: {name}}}\n  b: {{name: {name}}}\n"
    );
    let stack = Project::new("two-keys", &file);
    stack.ok(&["up", "-d", "--wait"]);
    assert_eq!(count(&stack, &name), 1);
    assert_eq!(page(&stack, "two", "one"), "one\n");
    assert_eq!(page(&stack, "one", "two"), "one\n");
    assert_eq!(stack.ok(&["exec", "-T", "both", "ls", "/sys/class/net"]), "eth0\nlo\n");
    for alias in ["ay", "bee"] {
        assert_eq!(page(&stack, "two", alias), "one\n");
    }
    assert!(stack.ok(&["up", "--dry-run"]).contains("nothing to do"));
    let oneoff = ["run", "--rm", "-T", "two", "wget", "-q", "-O", "-", "http://one/"];
    assert_eq!(stack.ok(&oneoff), "one\n");
    stack.down();
}

#[test]
fn a_network_whose_key_is_renamed_stays_and_nobody_on_it_is_cut_off() {
    let (name, other) =
        (format!("stays-{}", std::process::id()), format!("stays-too-{}", std::process::id()));
    let file = |one: &str, two: &str, more: &str| {
        let networks = format!("{one}: {{name: {name}{more}}}\n  {two}: {{name: {other}}}");
        serving("web", &format!("{{{one}: {{aliases: [here]}}, {two}: {{aliases: [there]}}}}"), &networks)
    };
    let stack = Project::new("renamed-key", &file("a", "b", ""));
    stack.ok(&["up", "-d", "--wait"]);
    let before = stack.field("web", "ID");
    let addresses = stack.ok(&["exec", "-T", "web", "ip", "-o", "address"]);
    // Renamed, exchanged, and one in the other's place.
    for (one, two) in [("fresh", "b"), ("b", "a"), ("b", "other"), ("a", "b")] {
        stack.write("compose.yaml", &file(one, two, ""));
        let planned = stack.ok(&["up", "--dry-run"]);
        assert!(planned.contains("nothing to do"), "{one} {two}: {planned}");
        stack.ok(&["up", "-d", "--wait"]);
        assert_eq!(stack.field("web", "ID"), before);
        assert_eq!(stack.ok(&["exec", "-T", "web", "ip", "-o", "address"]), addresses);
        assert_eq!((count(&stack, &name), count(&stack, &other)), (1, 1));
    }
    // What is wrong with it is told at the key that the file has.
    stack.write("compose.yaml", &file("fresh", "b", ", ipam: {config: [{subnet: 127.0.8.0/24}]}"));
    let (_, message) = stack.fails(&["up", "-d"]);
    assert!(message.contains("compose.yaml:8:") && message.contains("127.0.8.0/24"), "{message}");
    assert_eq!(stack.field("web", "ID"), before);
    // A supervisor that comes anew knows it all the same.
    stack.write("compose.yaml", &file("fresh", "b", ""));
    stack.ok(&["up", "-d"]);
    stack.kill_processes("compose-keeper");
    stack.kill_processes("compose-supervisor");
    stack.ok(&["restart"]);
    stack.ok(&["up", "-d", "--wait"]);
    assert_eq!(page(&stack, "web", "here"), "web\n");
    assert_eq!(page(&stack, "web", "there"), "web\n");
    stack.down();
}

#[test]
fn a_stack_leaves_a_shared_network_by_the_up_that_takes_it_from_its_services() {
    let front = Project::new("goes-on", &serving("front", "[default]", "default: {}"));
    let network = format!("{}_default", front.name);
    let bridge = composer_network::names::bridge(&front.name, "default");
    let joins = serving("back", "[default, front]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("goes-away", &joins);
    let witness = Project::new("goes-witness", "services: {}\n");
    let (with, without) = (joins.as_str(), serving("back", "[default]", "default: {}"));
    for round in 0..2 {
        back.write("compose.yaml", with);
        front.ok(&["up", "-d", "--wait"]);
        back.ok(&["up", "-d", "--wait"]);
        assert_eq!(page(&back, "back", "front"), "front\n");
        if round == 1 {
            // The last one that is on it.
            front.ok(&["down"]);
        }
        back.write("compose.yaml", &without);
        assert!(back.ok(&["up", "--dry-run"]).contains("leave network front"));
        let output = back.run(&["up", "-d", "--wait"]);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(page(&back, "back", "back"), "back\n");
        if round == 0 {
            assert_eq!(page(&front, "front", "front"), "front\n");
            let (_, unknown) = front.fails(&["exec", "-T", "front", "nslookup", "back"]);
            assert!(Path::new("/sys/class/net").join(&bridge).exists(), "{unknown}");
            front.ok(&["down"]);
        } else {
            assert!(said.contains(&format!("Network {network}")), "{said}");
        }
        is_gone(&witness, &network, &bridge);
        // It is on no network but its own.
        assert_eq!(page(&back, "back", "back"), "back\n");
        assert!(back.ok(&["up", "--dry-run"]).contains("nothing to do"));
    }
    // Without any network either.
    back.write(
        "compose.yaml",
        &serving("back", "[front]", &format!("front: {{external: true, name: {network}}}")),
    );
    front.ok(&["up", "-d", "--wait"]);
    back.ok(&["down"]);
    back.ok(&["up", "-d", "--wait"]);
    back.write(
        "compose.yaml",
        "services: {back: {x-rootfs: @busybox@, command: sleep 1000, network_mode: none}}\n",
    );
    back.ok(&["up", "-d"]);
    let rules = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!text(&rules.stdout).contains(&back.name), "{}", text(&rules.stdout));
    front.ok(&["down"]);
    is_gone(&witness, &network, &bridge);
    front.down();
    back.down();
}

#[test]
fn a_container_of_run_keeps_its_stack_on_a_network() {
    let front = Project::new("kept-by-run", &serving("front", "[default]", "default: {}"));
    let network = format!("{}_default", front.name);
    let joins = serving("back", "[front]", &format!("front: {{external: true, name: {network}}}"));
    let back = Project::new("keeps-by-run", &joins);
    front.ok(&["up", "-d", "--wait"]);
    back.ok(&["up", "-d", "--wait"]);
    let oneoff = back.ok(&["run", "-d", "back", "sleep", "1000"]);
    back.write("compose.yaml", &serving("back", "[default]", "default: {}"));
    back.ok(&["up", "-d", "--wait"]);
    front.ok(&["down"]);
    let bridge = composer_network::names::bridge(&front.name, "default");
    assert!(Path::new("/sys/class/net").join(&bridge).exists(), "{oneoff} is on it");
    let witness = Project::new("run-witness", "services: {}\n");
    back.down();
    is_gone(&witness, &network, &bridge);
    front.down();
}

#[test]
fn a_network_that_is_called_as_another_stacks_is_by_itself_is_that_one() {
    let short = Project::new("split", &serving("short", "[b_c]", "b_c: {}"));
    let mut long = Project::new("split-long", &serving("long", "[c]", "c: {}"));
    long.name = format!("{}_b", short.name);
    let network = format!("{}_b_c", short.name);
    for (first, second) in [(&long, &short), (&short, &long)] {
        first.ok(&["up", "-d", "--wait"]);
        let output = second.run(&["up", "-d", "--wait"]);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        let told = format!("network {network} is one that stack {} has made", first.name);
        assert!(said.contains(&told), "{said}");
        assert_eq!(count(&short, &network), 1);
        assert_eq!(page(&short, "short", "long"), "long\n");
        assert_eq!(page(&long, "long", "short"), "short\n");
        first.ok(&["down"]);
        second.ok(&["down"]);
    }
    // At once.
    let both = [&short, &long];
    let starting = both.map(|stack| stack.command(&["up", "-d", "--wait"]).spawn().unwrap());
    starting.into_iter().for_each(|mut up| assert!(up.wait().unwrap().success()));
    assert_eq!(count(&short, &network), 1);
    assert_eq!(page(&short, "short", "long"), "long\n");
    both.iter().for_each(|stack| drop(stack.ok(&["down"])));
    // One that has chosen the name of what another one's is by itself.
    let chooses =
        Project::new("split-by-choice", &serving("other", "[hub]", &format!("hub: {{name: {network}}}")));
    chooses.ok(&["up", "-d", "--wait"]);
    short.ok(&["up", "-d", "--wait"]);
    assert_eq!(count(&short, &network), 1);
    assert_eq!(page(&short, "short", "other"), "other\n");
    short.ok(&["down"]);
    chooses.down();
    long.down();
    short.down();
}
