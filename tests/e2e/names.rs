//! Names inside containers, as real clients see them.

use std::fs;

use crate::stack::Project;

/// Two services over busybox, and one that asks over the host's own programs.
const FILE: &str = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
    hostname: front
    networks: { default: { aliases: [site] } }
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 5s }
  ask:
    x-rootfs: host
    command: sleep 1000
    links: ["web:www"]
    hostname: asker
    domainname: office.example
    dns: ["127.0.0.1"]
    dns_search: ["corp.example"]
    dns_opt: ["timeout:20", "attempts:2"]
    extra_hosts: ["up:host-gateway", "fixed=192.0.2.7", "six=2001:db8::7"]
    depends_on: { web: { condition: service_healthy } }
  other:
    x-rootfs: @busybox@
    command: sleep 1000
    scale: 2
"#;

#[test]
fn names_are_known_to_the_c_library_to_dig_and_to_busybox() {
    let project = Project::new("names-clients", FILE);
    project.ok(&["up", "-d"]);
    let web = project.field("web", "Address").as_str().unwrap().to_owned();
    let inside = |service: &str, args: &[&str]| project.ok(&[&["exec", "-T", service], args].concat());
    for name in ["web", "Site", "front", "www", &format!("{}-web-1", project.name)] {
        let said = inside("ask", &["getent", "ahostsv4", name]);
        assert!(said.starts_with(&web), "{name}: {said}");
    }
    assert!(inside("ask", &["getent", "hosts", &web]).contains(&format!("{}-web-1", project.name)));
    let digs = |args: &[&str]| inside("ask", &[&["dig", "+short"], args].concat());
    assert_eq!(digs(&["web"]), format!("{web}\n"));
    assert_eq!(digs(&["+tcp", "+dnssec", "web"]), format!("{web}\n"));
    assert_eq!(digs(&["web", "AAAA"]), "");
    assert_eq!(digs(&["other"]).lines().count(), 2);
    let said = inside("other", &["nslookup", "-type=a", "site"]);
    assert!(said.contains(&web), "{said}");
    let said = inside("ask", &["dig", "elsewhere.example"]);
    assert!(said.contains("status: SERVFAIL"), "its own server is not there: {said}");
    // A link is its service's alone.
    let (status, _) = project.fails(&["exec", "-T", "other", "nslookup", "-type=a", "www"]);
    assert_eq!(status, 1);
    project.ok(&["stop", "-t", "0", "web"]);
    let said = inside("ask", &["dig", "web"]);
    assert!(said.contains("status: NXDOMAIN"), "its name goes when it ends: {said}");
    project.down();
}

#[test]
fn hosts_and_resolv_conf_say_what_the_file_says() {
    let project = Project::new("names-files", FILE);
    project.ok(&["up", "-d"]);
    let reads = |service: &str, file: &str| project.ok(&["exec", "-T", service, "cat", file]);
    let resolv = reads("ask", "/etc/resolv.conf");
    assert_eq!(resolv, "nameserver 127.0.0.11\nsearch corp.example\noptions timeout:20 attempts:2 ndots:0\n");
    let own = project.field("ask", "Address").as_str().unwrap().to_owned();
    let hosts = reads("ask", "/etc/hosts");
    let lines: Vec<_> = hosts.lines().collect();
    let gateway = format!("{}.1\tup", own.rsplit_once('.').unwrap().0);
    for line in
        [&gateway, "192.0.2.7\tfixed", "2001:db8::7\tsix", &format!("{own}\tasker.office.example asker")]
    {
        assert!(lines.contains(&line), "{line}: {hosts}");
    }
    // Without them, the host's.
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let search = host.lines().rfind(|line| line.starts_with("search "));
    let resolv = reads("other", "/etc/resolv.conf");
    assert_eq!(resolv.lines().find(|line| line.starts_with("search ")), search, "{resolv}");
    assert!(resolv.contains("nameserver 127.0.0.11\n") && resolv.contains("ndots:0"), "{resolv}");
    project.down();
}

#[test]
fn dns_asks_a_server_in_the_container_itself_for_what_the_stack_does_not_know() {
    let file = r#"
services:
  ask:
    x-rootfs: host
    dns: 127.0.0.1
    command: ["python3", "-u", "/serve.py"]
    volumes: ["./serve.py:/serve.py:ro"]
"#;
    // Every name has one address.
    let program = r#"
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("ready")
while True:
    query, client = server.recvfrom(4096)
    end = query.index(0, 12) + 5
    address = query[end - 4:end] == bytes([0, 1, 0, 1])
    record = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 9]) if address else b""
    header = query[:2] + bytes([0x81, 0x80, 0, 1, 0, 1 if record else 0, 0, 0, 0, 0])
    server.sendto(header + query[12:end] + record, client)
"#;
    let project = Project::new("names-own", file);
    project.write("serve.py", program);
    project.ok(&["up", "-d"]);
    project.follow_until("ask", "ready");
    let address = |name: &str| project.ok(&["exec", "-T", "ask", "getent", "ahostsv4", name]);
    assert!(address("elsewhere.example").starts_with("192.0.2.9 "));
    assert!(
        address(&format!("{}-ask-1", project.name))
            .starts_with(project.field("ask", "Address").as_str().unwrap())
    );
    project.down();
}

#[test]
fn nginx_asks_the_resolver_and_follows_a_container_that_is_made_anew() {
    let file = r#"
services:
  api:
    x-rootfs: @busybox@
    environment: { ROUND: "${ROUND:-first}" }
    command: ["sh", "-c", "mkdir /www; echo $$ROUND > /www/index.html; exec httpd -f -p 8080 -h /www"]
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"], interval: 1s, retries: 60 }
  front:
    x-rootfs: host
    volumes: ["./nginx.conf:/nginx.conf:ro"]
    tmpfs: ["/var/log/nginx", "/var/lib/nginx", "/tmp"]
    command: ["nginx", "-c", "/nginx.conf"]
    healthcheck: { test: ["CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80"], interval: 1s, retries: 60 }
  # Holds the address that the api had, so that its successor has another.
  ask:
    x-rootfs: @busybox@
    command: sleep 1000
"#;
    let conf = "daemon off; pid /tmp/nginx.pid; error_log stderr; events {}\nhttp { access_log off; server { listen 80; \
                resolver 127.0.0.11; set $up api; location / { proxy_pass http://$up:8080; } } }\n";
    let project = Project::new("names-nginx", file);
    project.write("nginx.conf", conf);
    project.ok(&["up", "-d", "--wait"]);
    let page = || project.run(&["exec", "-T", "ask", "wget", "-q", "-O", "-", "http://front/"]);
    assert_eq!(page().stdout, b"first\n");
    project.ok(&["rm", "-sf", "api"]);
    project.ok(&["up", "-d", "--scale", "ask=3", "--no-recreate", "ask"]);
    let mut command = project.command(&["up", "-d", "--wait", "--scale", "ask=3"]);
    assert!(command.env("ROUND", "second").output().unwrap().status.success());
    // Nginx keeps an answer for as long as it may: a second. What it says until then is an error, not the first.
    while page().stdout != b"second\n" {}
    project.down();
}

/// `scripts/soak` asks for a thousand.
#[test]
fn a_service_is_known_in_the_moment_its_first_dependent_starts() {
    const PAIRS: u32 = 20;
    let starts: u32 = std::env::var("COMPOSER_STARTS").map_or(40, |number| number.parse().expect("a number"));
    let pair = |number| {
        format!(
            "  s{number}: {{ x-rootfs: @busybox@, command: sleep 1000 }}\n  \
             c{number}: {{ x-rootfs: @busybox@, command: [nslookup, -type=a, s{number}], depends_on: [s{number}] }}\n"
        )
    };
    let file = format!("services:\n{}", (0..PAIRS).map(pair).collect::<String>());
    let project = Project::new("names-first", &file);
    for round in 0..starts.div_ceil(PAIRS) {
        project.ok(&["up", "-d", "--force-recreate", "-t", "0"]);
        for number in 0..PAIRS {
            project.ends(&format!("c{number}"));
        }
        let containers = project.containers();
        let asked =
            containers.iter().filter(|container| container["Service"].as_str().unwrap().starts_with('c'));
        let failed: Vec<_> = asked.clone().filter(|container| container["ExitCode"] != 0).collect();
        assert_eq!((asked.count(), failed.len()), (PAIRS as usize, 0), "round {round}: {failed:?}");
    }
    project.down();
}

#[test]
fn the_network_that_leads_out_in_both_families_goes_before_others() {
    let file = r#"
services:
  web: { x-rootfs: @busybox@, command: sleep 1000, networks: [a, b, c] }
  ask: { x-rootfs: host, command: sleep 1000, networks: { a: { priority: 100 }, b: , c: } }
  pick: { x-rootfs: host, command: sleep 1000, networks: { a: { gw_priority: 1 }, b: , c: } }
networks:
  a: { internal: true, ipam: { config: [{ subnet: 10.91.@third@.0/24 }] } }
  b: { ipam: { config: [{ subnet: 10.92.@third@.0/24 }] } }
  c: { enable_ipv6: true, ipam: { config: [{ subnet: 10.93.@third@.0/24 }] } }
"#;
    let third = std::process::id() % 250;
    let project = Project::new("names-order", &file.replace("@third@", &third.to_string()));
    project.ok(&["up", "-d"]);
    let digs = |service: &str, kind: &str| project.ok(&["exec", "-T", service, "dig", "+short", "web", kind]);
    assert!(digs("ask", "A").starts_with(&format!("10.93.{third}.")), "{}", digs("ask", "A"));
    assert!(digs("ask", "AAAA").starts_with("fd"), "{}", digs("ask", "AAAA"));
    // One network answers, also where it has the name in the other family alone.
    assert!(digs("pick", "A").starts_with(&format!("10.91.{third}.")), "{}", digs("pick", "A"));
    assert_eq!(digs("pick", "AAAA"), "");
    // As do the ways out.
    let route = project.ok(&["exec", "-T", "web", "ip", "route", "show", "default"]);
    assert!(route.starts_with(&format!("default via 10.93.{third}.")), "{route}");
    project.down();
}

#[test]
fn a_container_whose_name_is_longer_than_a_label_is_found_and_leads_back_to_its_service() {
    let long = format!("{:n>68}", std::process::id());
    let service = "s".repeat(60);
    let file = format!(
        "
services:
  web: {{ x-rootfs: @busybox@, command: sleep 1000, container_name: {long} }}
  {service}: {{ x-rootfs: @busybox@, command: sleep 1000 }}
  ask: {{ x-rootfs: host, command: sleep 1000 }}
"
    );
    let project = Project::new("names-long", &file);
    project.ok(&["up", "-d"]);
    let digs = |args: &[&str]| project.ok(&[&["exec", "-T", "ask", "dig", "+short"], args].concat());
    for name in ["web", service.as_str()] {
        let address = digs(&[name]);
        for over in ["+notcp", "+tcp"] {
            let back = digs(&[over, "-x", address.trim()]);
            assert_eq!(back, format!("{name}.{}_default.\n", project.name), "{over}");
        }
    }
    project.down();
}
