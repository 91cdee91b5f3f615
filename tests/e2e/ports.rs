//! Published ports. Each test has a host of its own: a network namespace in which the commands run, with an outsider
//! beside it.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::namespace::{Namespace, ip, output};
use crate::stack::Project;

/// Beyond any wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);
const HOST: &str = "198.51.100.1";
const OUTSIDE: &str = "198.51.100.2";

/// For the third number of the addresses of networks: their registry is the machine's.
fn third() -> u32 {
    std::process::id() % 250
}

/// A host and somebody outside of it.
struct World {
    host: Namespace,
    outside: Namespace,
}

impl World {
    fn new() -> Self {
        let (host, outside) = (Namespace::unshared(), Namespace::unshared());
        let peer = outside.path();
        host.inside(|| {
            ip(&format!("link add up0 type veth peer name eth0 netns {peer}"));
            ip(&format!("address add {HOST}/24 dev up0"));
            ip("address add 2001:db8::1/64 dev up0 nodad");
            ip("link set up0 up");
            // A namespace begins with what the first one has.
            fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        });
        outside.inside(|| {
            ip(&format!("address add {OUTSIDE}/24 dev eth0"));
            ip("address add 2001:db8::2/64 dev eth0 nodad");
            ip("link set eth0 up");
            for host in [HOST, "2001:db8::1"] {
                // Refused, which it is once both ends of the cable are seen to be in.
                let to = SocketAddr::new(host.parse().unwrap(), 1);
                TcpStream::connect_timeout(&to, PATIENCE).unwrap_err();
            }
        });
        Self { host, outside }
    }

    fn ruleset(&self) -> String {
        self.host.inside(|| output("nft", "list ruleset"))
    }

    fn down(&self, project: Project) {
        self.host.inside(|| project.down());
        self.host.inside(|| {
            assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "0");
        });
        assert_eq!(self.ruleset(), "", "rules are left");
        let bound = self.host.inside(|| fs::read_to_string("/proc/thread-self/net/tcp").unwrap());
        assert!(!bound.contains(" 0A "), "a socket listens still:\n{bound}");
    }
}

/// What a server says to a line.
fn ask(to: &str) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let body = answer.split("\r\n\r\n").nth(1)?;
    (!body.is_empty()).then(|| body.trim().to_owned())
}

/// A service that says who asks, by CGI of busybox's httpd.
const WEB: &str = r#"
  web:
    x-rootfs: @busybox@
    command:
      - sh
      - -c
      - |
        mkdir -p /www/cgi-bin
        printf '#!/bin/sh\necho Content-type: text/plain; echo; echo "$$REMOTE_ADDR"\n' > /www/cgi-bin/who
        chmod +x /www/cgi-bin/who
        echo hello > /www/index.html
        exec httpd -f -p 80 -h /www
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 5s }
"#;

fn who(to: &str) -> Option<IpAddr> {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /cgi-bin/who HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let address = answer.lines().last()?.trim().trim_matches(['[', ']']);
    Some(address.parse::<IpAddr>().unwrap_or_else(|error| panic!("{error}: {answer}")).to_canonical())
}

fn gateway(project: &Project) -> IpAddr {
    let address = project.field("web", "Address").as_str().unwrap().to_owned();
    let [a, b, c, _] = address.parse::<std::net::Ipv4Addr>().unwrap().octets();
    [a, b, c, 1].into()
}

#[test]
fn a_port_is_reached_from_everywhere_and_shown() {
    let world = World::new();
    let file = format!(
        "services:{WEB}    ports: [\"8080:80\", \"127.0.0.1:8081:80\", \"80\"]\n    expose: [\"443\"]\n"
    );
    let project = Project::new("ports", &file);
    world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
    assert_eq!(world.outside.inside(|| who("198.51.100.1:8080")), Some(OUTSIDE.parse().unwrap()));
    assert!(world.outside.inside(|| who("[2001:db8::1]:8080")).is_some());
    world.host.inside(|| {
        let gateway = gateway(&project);
        assert_eq!(who("127.0.0.1:8080"), Some(gateway));
        assert_eq!(who("[::1]:8080"), Some(gateway));
        assert_eq!(who("127.0.0.1:8081"), Some(gateway));
        for address in [HOST, &gateway.to_string()] {
            let url = format!("http://{address}:8080/");
            assert_eq!(project.ok(&["exec", "-T", "web", "wget", "-q", "-O", "-", &url]), "hello\n");
        }
        assert_eq!(project.ok(&["port", "web", "80"]).lines().count(), 1);
        assert_eq!(project.ok(&["port", "web", "80"]), "0.0.0.0:8080\n");
        let (code, error) = project.fails(&["port", "web", "81"]);
        assert!(code == 1 && error.contains("no port 81/tcp for container"), "{error}");
        let free = free_port(&project);
        assert_eq!(ask(&format!("127.0.0.1:{free}")).as_deref(), Some("hello"));
        let shown = project.field("web", "Ports");
        let expected = format!(
            "443/tcp, 0.0.0.0:8080->80/tcp, 0.0.0.0:{free}->80/tcp, 127.0.0.1:8081->80/tcp, [::]:8080->80/tcp, \
             [::]:{free}->80/tcp"
        );
        let sorted = |text: &str| {
            let mut parts: Vec<_> = text.split(", ").map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(shown.as_str().unwrap()), sorted(&expected));
        // A port that nobody chose stays the same, whatever becomes of the container.
        for command in [&["restart", "-t", "1"][..], &["up", "-d", "--force-recreate", "-t", "1", "--wait"]] {
            project.ok(command);
            assert_eq!(free_port(&project), free, "after {command:?}");
        }
        project.ok(&["stop", "-t", "1"]);
        assert!(TcpStream::connect("127.0.0.1:8080").is_err());
        assert_eq!(project.field("web", "Publishers").as_array().unwrap().len(), 0);
        project.ok(&["start", "--wait"]);
        assert_eq!(free_port(&project), free, "after a start");
    });
    assert!(world.outside.inside(|| who("198.51.100.1:8080")).is_some());
    world.down(project);
}

/// The published port that is neither 8080 nor 8081.
fn free_port(project: &Project) -> u64 {
    let publishers = project.field("web", "Publishers");
    let ports = publishers.as_array().unwrap().iter().map(|one| one["PublishedPort"].as_u64().unwrap());
    ports.into_iter().find(|port| ![0, 8080, 8081].contains(port)).unwrap()
}

#[test]
fn a_taken_port_is_told_with_its_holder_before_anything_is_made() {
    let world = World::new();
    let file = format!("services:{WEB}    ports: [\"8080:80\"]\n");
    let (one, two) = (Project::new("holder", &file), Project::new("asker", &file));
    world.host.inside(|| {
        let taken = TcpListener::bind("0.0.0.0:8080").unwrap();
        let (code, error) = one.fails(&["up", "-d"]);
        let pid = std::process::id();
        assert!(
            code == 1 && error.contains("service web: port 8080/tcp of the host is taken: process"),
            "{error}"
        );
        assert!(error.contains(&format!("process {pid} (")) && error.contains("0.0.0.0:8080"), "{error}");
        one.assert_nothing_left();
        drop(taken);
        one.ok(&["up", "-d", "--wait"]);
        let (code, error) = two.fails(&["up", "-d"]);
        let line = file.lines().position(|line| line.contains("ports:")).unwrap() + 1;
        let expected = format!(
            "error: service web: port 8080/tcp of the host is taken: service web of stack {} publishes it
  --> compose.yaml:{line}:13
   |
{line} |     ports: [\"8080:80\"]
   |             ^^^^^^^^^
   |
   = help: stop it, or publish another port: `8081:80`
",
            one.name
        );
        assert!(code == 1 && error.ends_with(&expected), "{error}\nand not\n{expected}");
        two.assert_nothing_left();
        two.write("compose.yaml", &format!("services:{WEB}    ports: [\"203.0.113.9:8082:80\"]\n"));
        let (_, error) = two.fails(&["up", "-d"]);
        assert!(error.contains("at 203.0.113.9: the host has no such address"), "{error}");
        two.assert_nothing_left();
    });
    world.down(one);
}

#[test]
fn all_taken_ports_are_told_at_once_with_ports_that_are_free() {
    let world = World::new();
    let ports = r#"["8080:80", "8090:90", "127.0.0.1:8084:84"]"#;
    let file = format!(
        "services:{WEB}    ports: {ports}\n  other: {{ x-rootfs: @busybox@, command: sleep 1000, ports: [\"8082:80\", \"8085-8086:80\"] }}\n"
    );
    let project = Project::new("all-taken", &file);
    world.host.inside(|| {
        let _taken =
            [8080, 8081, 8084, 8085, 8086, 8090].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
        let (code, error) = project.fails(&["up", "-d"]);
        assert_eq!(code, 1, "{error}");
        for (what, way_out) in [
            ("service web: port 8080/tcp of the host is taken: process", "publish another port: `8083:80`"),
            ("service web: port 8090/tcp of the host is taken: process", "publish another port: `8091:90`"),
            (
                "service web: port 8084/tcp of the host at 127.0.0.1 is taken",
                "another port: `127.0.0.1:8088:84`",
            ),
            ("service other: ports 8085-8086/tcp of the host are all taken", "or others: `8087:80`"),
        ] {
            assert!(
                error.matches(what).count() == 1 && error.contains(way_out),
                "{error}\nand not {what}: {way_out}"
            );
        }
        assert_eq!(error.matches("--> compose.yaml").count(), 4, "{error}");
        project.assert_nothing_left();
    });
    world.down(project);
}

#[test]
fn run_publishes_what_it_is_asked_to() {
    let world = World::new();
    let project = Project::new("run-ports", &format!("services:{WEB}    ports: [\"8080:80\"]\n"));
    world.host.inside(|| {
        let run = ["run", "-d", "-p", "8085:80", "--publish", "127.0.0.1::80", "web"];
        project.ok(&run);
        let ready = ["run", "--rm", "-T", "web", "sh", "-c", "until wget -q -O - http://$0/; do :; done"];
        let address = project.containers()[0]["Address"].as_str().unwrap().to_owned();
        assert_eq!(project.ok(&[&ready[..], &[&address]].concat()), "hello\n");
        assert_eq!(ask("127.0.0.1:8085").as_deref(), Some("hello"));
        assert!(TcpStream::connect("127.0.0.1:8080").is_err(), "the file's are not published");
        // What the file says is not to blame.
        let (code, error) = project.fails(&run);
        let holder = project.containers()[0]["Name"].as_str().unwrap().to_owned();
        let expected = format!(
            "port 8085/tcp of the host is taken: container {holder} of stack {} publishes it",
            project.name
        );
        assert!(code == 1 && error.contains(&expected), "{error}");
        assert!(
            error.contains("; stop it, or publish another port: `8086:80`") && !error.contains("-->"),
            "{error}"
        );
        for (wrong, why) in [("80:x", "is neither a port nor a range"), ("80/sctp", "cannot be published")] {
            let (code, error) = project.fails(&["run", "-p", wrong, "web"]);
            assert!(
                code == 1 && error.contains(&format!("`--publish {wrong}`")) && error.contains(why),
                "{error}"
            );
        }
    });
    assert_eq!(world.outside.inside(|| ask("198.51.100.1:8085")).as_deref(), Some("hello"));
    world.down(project);
}

#[test]
fn replicas_share_a_range_and_a_port_moves_from_one_service_to_another() {
    let world = World::new();
    let file = format!("services:{WEB}    ports: [\"8080-8082:80\"]\n    scale: 3\n");
    let project = Project::new("range", &file);
    world.host.inside(|| {
        project.ok(&["up", "-d", "--wait"]);
        let mut ports: Vec<u64> = project
            .containers()
            .iter()
            .flat_map(|one| one["Publishers"].as_array().unwrap().clone())
            .map(|one| one["PublishedPort"].as_u64().unwrap())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports, [8080, 8081, 8082]);
        for port in ports {
            assert_eq!(ask(&format!("127.0.0.1:{port}")).as_deref(), Some("hello"));
        }
        let moved = format!("services:{}    ports: [\"8080-8082:80\"]\n", WEB.replace("  web:", "  other:"));
        project.write("compose.yaml", &moved);
        project.ok(&["up", "-d", "--wait", "--remove-orphans", "-t", "1"]);
        let known = project.containers();
        assert_eq!(known.len(), 1);
        // Whichever of them was given back first.
        let port = &known[0]["Publishers"][0]["PublishedPort"];
        assert_eq!(ask(&format!("127.0.0.1:{port}")).as_deref(), Some("hello"));
    });
    world.down(project);
}

#[test]
fn udp_is_published_and_outlives_its_container() {
    let world = World::new();
    let file = r#"
services:
  echo:
    x-rootfs: host
    command:
      - python3
      - -uc
      - |
        import os, socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("0.0.0.0", 53))
        print("ready")
        while True:
            d, a = s.recvfrom(100)
            s.sendto(a[0].encode(), a)
    ports: ["5353:53/udp"]
"#;
    let project = Project::new("udp", file);
    world.host.inside(|| {
        project.ok(&["up", "-d"]);
        project.follow_until("echo", "ready");
    });
    let ask = |socket: &UdpSocket, to: &str| {
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        // A datagram may be lost while the container is another.
        for _ in 0..5 {
            socket.send_to(b"who", to).unwrap();
            let mut buffer = [0; 100];
            if let Ok(length) = socket.recv(&mut buffer) {
                return Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
        None
    };
    let outside = world.outside.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let inside = world.host.inside(|| UdpSocket::bind("[::]:0").unwrap());
    for again in [false, true] {
        if again {
            world.host.inside(|| {
                project.ok(&["up", "-d", "--force-recreate", "-t", "1"]);
                project.follow_until("echo", "ready");
            });
        }
        assert_eq!(ask(&outside, "198.51.100.1:5353").as_deref(), Some(OUTSIDE));
        assert!(ask(&inside, "[::1]:5353").is_some());
        assert!(ask(&inside, "[::ffff:127.0.0.1]:5353").is_some());
    }
    world.down(project);
}

/// Services of UDP that answer with their names, each with its ports.
fn namers(services: &[(&str, &str)]) -> String {
    let mut file = "services:\n".to_owned();
    for (name, ports) in services {
        file += &format!(
            r#"
  {name}:
    x-rootfs: host
    command:
      - python3
      - -uc
      - |
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("0.0.0.0", 53))
        print("ready")
        while True:
            d, a = s.recvfrom(100)
            s.sendto(b"{name}", a)
    ports: [{ports}]
"#
        );
    }
    file
}

fn named(to: &str) -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // A datagram may be lost while the container is another.
    for _ in 0..5 {
        socket.send_to(b"who", to).unwrap();
        let mut buffer = [0; 100];
        if let Ok(length) = socket.recv(&mut buffer) {
            return Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
    None
}

#[test]
fn a_port_of_udp_moves_between_services_that_stay() {
    let world = World::new();
    let up = |project: &Project, services: &[(&str, &str)]| {
        project.write("compose.yaml", &namers(services));
        project.ok(&["up", "-d", "-t", "1"]);
        for (name, _) in services {
            project.follow_until(name, "ready");
        }
    };
    let before = [("one", "\"5353:53/udp\""), ("two", "\"5354:53/udp\"")];
    let project = Project::new("udp-moves", &namers(&before));
    world.host.inside(|| {
        up(&project, &before);
        assert_eq!(named("127.0.0.1:5353").as_deref(), Some("one"));
        up(&project, &[("one", "\"5355:53/udp\""), ("two", "\"5353:53/udp\", \"5354:53/udp\"")]);
        assert_eq!(named("127.0.0.1:5353").as_deref(), Some("two"));
        assert_eq!(named("127.0.0.1:5355").as_deref(), Some("one"));
        // Another port of the container by the same one of the host, at other addresses.
        up(&project, &[("one", "\"127.0.0.1:5355:53/udp\""), ("two", "\"5353:53/udp\"")]);
        assert_eq!(named("127.0.0.1:5355").as_deref(), Some("one"));
        assert!(UdpSocket::bind("127.0.0.1:5354").is_ok(), "what nobody wants any more is free");
    });
    world.down(project);
}

/// Two services of HTTP that say their names, each with its ports.
fn speakers(one: &str, two: &str) -> String {
    let speaker = |name: &str, ports: &str| {
        format!(
            r#"
  {name}:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir -p /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www"]
    healthcheck: {{ test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 5s }}
    ports: [{ports}]
"#
        )
    };
    format!("services:{}{}", speaker("one", one), speaker("two", two))
}

#[test]
fn ports_move_and_are_swapped_between_services_that_stay() {
    let world = World::new();
    let project = Project::new("moves", &speakers("\"8080:80\"", ""));
    let at = |port: u16| ask(&format!("127.0.0.1:{port}"));
    world.host.inside(|| {
        project.ok(&["up", "-d", "--wait"]);
        for (one, two) in [(9090, 8080), (8080, 9090)] {
            project.write("compose.yaml", &speakers(&format!("\"{one}:80\""), &format!("\"{two}:80\"")));
            project.ok(&["up", "-d", "--wait", "-t", "1"]);
            assert_eq!(at(one).as_deref(), Some("one"), "{one}");
            assert_eq!(at(two).as_deref(), Some("two"), "{two}");
        }
    });
    assert_eq!(world.outside.inside(|| ask("198.51.100.1:8080")).as_deref(), Some("one"));
    world.down(project);
}

#[test]
fn an_up_that_fails_for_a_taken_port_leaves_what_runs_reachable() {
    let world = World::new();
    let project = Project::new("stays", &speakers("\"8080-8082:80\"", ""));
    world.host.inside(|| {
        project.ok(&["up", "-d", "--wait"]);
        let _taken = TcpListener::bind("0.0.0.0:9000").unwrap();
        project.write("compose.yaml", &speakers("\"8090:80\"", "\"8080:80\", \"9000:80\""));
        let (_, error) = project.fails(&["up", "-d", "-t", "1"]);
        assert!(error.contains("service two: port 9000/tcp of the host is taken: process"), "{error}");
        assert!(error.contains("publish another port: `9001:80`"), "{error}");
        assert_eq!(ask("127.0.0.1:8080").as_deref(), Some("one"));
        assert_eq!(ask("[::1]:8080").as_deref(), Some("one"));
        assert!(TcpListener::bind("0.0.0.0:8090").is_ok(), "what it had in mind is given back");
        // Neither is what stays waited for: all of a range is somebody's.
        let _others = [8081, 8082].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
        project.write("compose.yaml", &speakers("\"8080-8082:80\"", ""));
        let (_, error) = project.fails(&["up", "-d", "--force-recreate", "--scale", "one=2"]);
        assert!(error.contains("ports 8080-8082/tcp of the host are all taken"), "{error}");
    });
    assert_eq!(world.outside.inside(|| ask("198.51.100.1:8080")).as_deref(), Some("one"));
    world.host.inside(|| {
        project.ok(&["stop", "-t", "1"]);
        let _taken = TcpListener::bind("0.0.0.0:8080").unwrap();
        let _others = [8081, 8082].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
        let (_, error) = project.fails(&["start"]);
        assert!(error.contains("of the host are all taken, 8080 of them: process"), "{error}");
        assert!(project.containers().iter().all(|one| one["State"] != "running"), "before anything starts");
    });
    world.down(project);
}

#[test]
fn connections_and_listeners_outlive_the_supervisor_and_the_keeper() {
    let world = World::new();
    let file = r#"
services:
  web:
    x-rootfs: host
    command:
      - python3
      - -uc
      - |
        import socket, threading
        def serve(c):
            while True:
                d = c.recv(1000)
                if not d: return
                c.sendall(d)
        s = socket.create_server(("0.0.0.0", 80))
        print("ready")
        while True:
            c, _ = s.accept()
            threading.Thread(target=serve, args=(c,), daemon=True).start()
    ports: ["8080:80"]
"#;
    let project = Project::new("survivors", file);
    world.host.inside(|| {
        project.ok(&["up", "-d"]);
        project.follow_until("web", "ready");
    });
    let connect = |to: &str| {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let echoes = |mut stream: &TcpStream| {
        stream.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    };
    let outside = world.outside.inside(|| connect("198.51.100.1:8080"));
    let loopback = world.host.inside(|| connect("127.0.0.1:8080"));
    for stream in [&outside, &loopback] {
        echoes(stream);
    }
    for program in ["compose-supervisor", "compose-keeper"] {
        world.host.inside(|| project.kill_processes(program));
        let held = world.host.inside(|| fs::read_to_string("/proc/thread-self/net/tcp").unwrap());
        assert!(held.contains(":1F90 00000000:0000 0A"), "nobody listens after {program}'s death:\n{held}");
        for stream in [&outside, &loopback] {
            echoes(stream);
        }
        echoes(&world.outside.inside(|| connect("198.51.100.1:8080")));
        // Queued by the kernel until there is a supervisor again.
        echoes(&world.host.inside(|| connect("[::1]:8080")));
    }
    world.down(project);
}

#[test]
fn without_nf_tables_everything_is_served_and_it_is_said() {
    let world = World::new();
    let file = format!("services:{WEB}    ports: [\"8080:80\"]\n");
    let project = Project::new("by-hand", &file);
    // A table of the stack's name that belongs to a living process: nobody else may touch it.
    let table = format!("compose-{}", project.name);
    let mut owner = world.host.inside(|| {
        let mut owner = Command::new("nft")
            .arg("-i")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = owner.stdin.take().unwrap();
        writeln!(input, "add table inet {table} {{ flags owner; }}\nlist tables").unwrap();
        let mut output = std::io::BufReader::new(owner.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains(&table) {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut output, &mut line).unwrap() > 0);
        }
        owner.stdin = Some(input);
        owner
    });
    world.host.inside(|| {
        let output = project.run(&["up", "-d", "--wait"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("published ports are served by the supervisor").count(), 1, "{said}");
        let gateway = gateway(&project);
        for to in ["127.0.0.1:8080", "[::1]:8080", "198.51.100.1:8080"] {
            assert_eq!(who(to), Some(gateway), "{to}");
        }
    });
    assert!(world.outside.inside(|| who("198.51.100.1:8080")).is_some());
    drop(owner.stdin.take());
    owner.wait().unwrap();
    world.down(project);
}

/// A server in the thread's namespace, at port 80, that tells whoever asks what address that comes from.
fn tells_who_asks() {
    let listener = TcpListener::bind("0.0.0.0:80").unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let mut some = [0; 1000];
            let _ = stream.read(&mut some);
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{}\n", from.ip());
        }
    });
}

#[test]
fn a_port_that_another_has_taken_while_nobody_held_it_is_told_of_and_taken_again() {
    let world = World::new();
    let project = Project::new("lost-port", &format!("services:{WEB}    ports: [\"8080:80\"]\n"));
    let asks = || world.outside.inside(|| who("198.51.100.1:8080"));
    world.host.inside(|| {
        project.ok(&["up", "-d", "--wait"]);
        project.kill_both();
        let taken = TcpListener::bind("0.0.0.0:8080").unwrap();
        let (_, error) = project.fails(&["up", "-d"]);
        assert!(error.contains("service web: port 8080/tcp of the host is taken: process"), "{error}");
        assert!(error.contains("compose.yaml:"), "{error}");
        // Whoever goes needs none.
        project.ok(&["up", "-d", "--scale", "web=0", "-t", "0"]);
        drop(taken);
        project.ok(&["up", "-d", "--wait"]);
        project.kill_both();
        project.ok(&["up", "-d"]);
        assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "it is held again");
    });
    assert_eq!(asks(), Some(OUTSIDE.parse().unwrap()));
    world.down(project);
}

#[test]
fn services_reach_the_outside_beside_a_firewall_that_drops() {
    let world = World::new();
    let file = format!("services:{WEB}    ports: [\"8080:80\"]\n");
    let project = Project::new("dropping", &file);
    world.outside.inside(tells_who_asks);
    let rules = world.host.inside(|| {
        output("nft", "add table ip filter");
        output("nft", "add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }");
        output("nft", "list ruleset")
    });
    world.host.inside(|| {
        project.ok(&["up", "-d", "--wait"]);
        let url = format!("http://{OUTSIDE}/");
        assert_eq!(project.ok(&["exec", "-T", "web", "wget", "-q", "-O", "-", &url]), format!("{HOST}\n"));
    });
    assert_eq!(world.outside.inside(|| who("198.51.100.1:8080")), Some(OUTSIDE.parse().unwrap()));
    world.host.inside(|| project.down());
    assert_eq!(world.ruleset(), rules);
}

#[test]
fn an_internal_network_works_on_when_a_firewall_comes_later_or_is_loaded_anew() {
    let world = World::new();
    let bridged = |on: &str| {
        for family in ["iptables", "ip6tables"] {
            fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}"), on).unwrap();
        }
    };
    let file = r#"
services:
  a: { x-rootfs: @busybox@, command: sleep 1000, networks: [i] }
  b:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 5s }
    networks: [i]
networks: { i: { internal: true } }
"#;
    let project = Project::new("inner", file);
    // Until the rule is there its packets are dropped, and sent again.
    let reaches = || project.ok(&["exec", "-T", "a", "wget", "-q", "-O", "-", "http://b/"]);
    world.host.inside(|| {
        bridged("0");
        project.ok(&["up", "-d", "--wait"]);
        reaches();
        bridged("1");
        output("nft", "add table inet other");
        let chain = "add chain inet other c { type filter hook forward priority 0 ; policy drop ; }";
        output("nft", chain);
        reaches();
        output("nft", "delete table inet other");
        output("nft", "add table inet other");
        output("nft", chain);
        reaches();
    });
    let rules = world.ruleset();
    assert_eq!(rules.matches("comment \"composer:").count(), 1, "{rules}");
    world.host.inside(|| {
        project.down();
        output("nft", "delete table inet other")
    });
    assert_eq!(world.ruleset(), "");
}

#[test]
fn every_up_tells_what_keeps_the_host_from_its_ports() {
    let world = World::new();
    let file = format!("services:{WEB}    ports: [\"8080:80\"]\n");
    let project = Project::new("unsent", &file);
    world.host.inside(|| {
        output("nft", "add table ip mine");
        output("nft", "add chain ip mine out { type filter hook output priority 0 ; policy drop ; }");
        // The second has nothing to do.
        for _ in 0..2 {
            let ran = project.run(&["up", "-d", "--wait"]);
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{said}");
            assert_eq!(said.matches("drops what this host sends to containers").count(), 1, "{said}");
        }
        output("nft", "delete table ip mine");
        let ran = project.run(&["up", "-d", "--wait"]);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!said.contains("drops what this host"), "{said}");
    });
    world.down(project);
}

#[test]
fn rules_of_a_network_change_under_containers_that_run_on() {
    let world = World::new();
    let third = third();
    world.outside.inside(|| ip(&format!("route add 10.76.{third}.0/24 via {HOST}")));
    world.host.inside(|| ip("address add 198.51.100.9/24 dev up0"));
    let file = |options: &str| {
        format!(
            r#"
services:{WEB}    ports: ["8080:80"]
    networks: [own]
networks:
  own:
    driver_opts: {{ {options} }}
    ipam: {{ config: [{{ subnet: 10.76.{third}.0/24 }}] }}
"#
        )
    };
    world.outside.inside(tells_who_asks);
    let project = Project::new("rules-anew", &file(""));
    world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
    let pid = || world.host.inside(|| project.field("web", "Pid"));
    let before = pid();
    let seen = || {
        let url = format!("http://{OUTSIDE}/");
        world.host.inside(|| project.ok(&["exec", "-T", "web", "wget", "-q", "-O", "-", &url]))
    };
    let at = world.host.inside(|| project.field("web", "Address"));
    let own = SocketAddr::new(at.as_str().unwrap().parse().unwrap(), 80);
    let from_outside = || world.outside.inside(|| is_open(own));
    assert_eq!(seen(), format!("{HOST}\n"));
    assert!(!from_outside());
    for (options, source, open) in [
        ("com.docker.network.host_ipv4: 198.51.100.9", "198.51.100.9", false),
        ("com.docker.network.bridge.trusted_host_interfaces: up0", HOST, true),
        ("com.docker.network.bridge.gateway_mode_ipv4: nat-unprotected", HOST, true),
        ("", HOST, false),
    ] {
        project.write("compose.yaml", &file(options));
        let planned = world.host.inside(|| project.ok(&["up", "-d", "--dry-run"]));
        assert!(planned.contains("set up network own: its rules have changed"), "{planned}");
        world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
        assert_eq!(seen(), format!("{source}\n"), "{options}");
        assert_eq!(from_outside(), open, "{options}");
        assert_eq!(pid(), before, "{options}");
        assert_eq!(world.outside.inside(|| who("198.51.100.1:8080")), Some(OUTSIDE.parse().unwrap()));
    }
    world.down(project);
}

/// Whether a port takes a connection before long.
fn is_open(to: SocketAddr) -> bool {
    TcpStream::connect_timeout(&to, Duration::from_millis(300)).is_ok()
}

/// The addresses of the service `web` on its only network.
fn addresses(project: &Project) -> [IpAddr; 2] {
    let shown =
        project.ok(&["exec", "-T", "web", "ip", "-o", "addr", "show", "dev", "eth0", "scope", "global"]);
    let words: Vec<&str> = shown.split_whitespace().collect();
    ["inet", "inet6"].map(|family| {
        let at = words.iter().position(|word| *word == family).unwrap();
        words[at + 1].split('/').next().unwrap().parse().unwrap()
    })
}

#[test]
fn routed_services_are_reached_at_their_own_addresses_and_take_no_port_of_the_host() {
    let world = World::new();
    let third = third();
    world.outside.inside(|| {
        ip(&format!("route add 10.79.{third}.0/24 via {HOST}"));
        ip(&format!("route add fd79:{third}::/64 via 2001:db8::1"));
    });
    let file = format!(
        r#"
services:{WEB}    ports: ["8080:80"]
    networks: [own]
  hidden: {{ x-rootfs: @busybox@, command: httpd -f -p 81, network_mode: "service:web" }}
  other: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [plain] }}
networks:
  plain:
  own:
    enable_ipv6: true
    driver_opts:
      com.docker.network.bridge.gateway_mode_ipv4: routed
      com.docker.network.bridge.gateway_mode_ipv6: routed
    ipam: {{ config: [{{ subnet: 10.79.{third}.0/24 }}, {{ subnet: "fd79:{third}::/64" }}] }}
"#
    );
    let project = Project::new("routed", &file);
    let taken = world.host.inside(|| TcpListener::bind((HOST, 8080)).unwrap());
    world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
    let reached = |open: bool| {
        let at = world.host.inside(|| addresses(&project));
        for (own, outside) in at.into_iter().zip([OUTSIDE, "2001:db8::2"]) {
            let to = SocketAddr::new(own, 80);
            assert_eq!(world.outside.inside(|| is_open(to)), open, "{to}");
            assert!(!world.outside.inside(|| is_open(SocketAddr::new(own, 81))), "{own}");
            if open {
                assert_eq!(world.outside.inside(|| who(&to.to_string())), Some(outside.parse().unwrap()));
            }
        }
    };
    reached(true);
    world.host.inside(|| {
        assert!(!is_open("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(project.field("web", "Ports"), "80/tcp");
        let (_, error) = project.fails(&["port", "web", "80"]);
        assert!(error.contains("no port 80/tcp for container"), "{error}");
        let [v4, _] = addresses(&project);
        let url = format!("http://{v4}/");
        assert_eq!(project.ok(&["exec", "-T", "other", "wget", "-q", "-O", "-", &url]), "hello\n");
        project.ok(&["up", "-d", "--wait", "--scale", "web=2", "web"]);
        project.ok(&["up", "-d", "--wait", "--scale", "web=1", "web"]);
        // What is stopped is open no more.
        project.ok(&["stop", "-t", "1"]);
    });
    assert!(!world.ruleset().contains(" . tcp . 80"), "{}", world.ruleset());
    world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
    reached(true);
    // By the next supervisor as well, whoever has taken the rules away meanwhile.
    project.kill_processes("compose-keeper");
    project.kill_processes("compose-supervisor");
    world.host.inside(|| {
        output("nft", "flush ruleset");
        project.ok(&["ps"]);
    });
    reached(true);
    // Of IPv4 alone they are led to again.
    drop(taken);
    project.write("compose.yaml", &file.replace("gateway_mode_ipv4: routed", "gateway_mode_ipv4: nat"));
    world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
    let [v4, v6] = world.host.inside(|| addresses(&project)).map(|own| SocketAddr::new(own, 80));
    assert!(!world.outside.inside(|| is_open(v4)));
    assert!(world.outside.inside(|| is_open(v6)));
    assert_eq!(world.outside.inside(|| who("198.51.100.1:8080")), Some(OUTSIDE.parse().unwrap()));
    assert!(!world.outside.inside(|| is_open("[2001:db8::1]:8080".parse().unwrap())));
    world.host.inside(|| assert_eq!(project.field("web", "Ports"), "80/tcp, 0.0.0.0:8080->80/tcp"));
    world.down(project);
}

#[test]
fn networks_that_stacks_share_say_where_ports_are_published() {
    let world = World::new();
    let third = third();
    world.outside.inside(|| ip(&format!("route add 10.77.{third}.0/24 via {HOST}")));
    let creator = Project::new("of-ways", "services: {}\n");
    let [bound, way] = ["bound", "way"].map(|name| format!("{name}-{}", std::process::id()));
    let option = |option: &str| format!("com.docker.network.bridge.{option}");
    world.host.inside(|| {
        let binding = option("host_binding_ipv4=127.0.0.1");
        creator.ok(&["network", "create", "-o", &binding, &bound]);
        let routed = option("gateway_mode_ipv4=routed");
        creator.ok(&["network", "create", "-o", &routed, "--subnet", &format!("10.77.{third}.0/24"), &way]);
    });
    let file = format!(
        r#"
services:{WEB}    ports: ["8080:80"]
    networks: [bound]
  far: {{ x-rootfs: @busybox@, command: httpd -f -p 80, ports: ["8081:80"], networks: [way] }}
networks:
  bound: {{ external: true, name: {bound} }}
  way: {{ external: true, name: {way} }}
"#
    );
    let project = Project::new("ways", &file);
    world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
    let (here, there) = world.host.inside(|| {
        let far = project.field("far", "Address").as_str().unwrap().parse().unwrap();
        assert_eq!(project.field("web", "Ports"), "127.0.0.1:8080->80/tcp");
        assert_eq!(project.field("far", "Ports"), "80/tcp");
        (is_open("127.0.0.1:8080".parse().unwrap()), SocketAddr::new(far, 80))
    });
    assert!(here && world.outside.inside(|| is_open(there)));
    for port in [8080, 8081] {
        assert!(!world.outside.inside(|| is_open(SocketAddr::new(HOST.parse().unwrap(), port))), "{port}");
    }
    world.down(project);
    world.host.inside(|| creator.ok(&["network", "rm", &bound, &way]));
}
