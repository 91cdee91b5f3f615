//! examples/web, as its README has it: nginx, a Python API, Redis and PostgreSQL from images.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;

use serde_json::Value;

use crate::registry::Registry;
use crate::stack::{Project, ended, pidfd, text};

struct Web {
    project: Project,
    registry: Registry,
}

impl Web {
    fn up(name: &str) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/web");
        let read = |file: &str| fs::read_to_string(example.join(file)).unwrap();
        let registry = Registry::plain();
        let project = Project::new(name, &read("compose.yaml").replace("name: web", ""));
        fs::create_dir(project.folder.join("api")).unwrap();
        for file in ["nginx.conf", "password.txt", "api/api.py"] {
            project.write(file, &read(file));
        }
        project.write(".env", &format!("REGISTRY={}\nPORT=\n", registry.name));
        project.ok(&["up", "-d", "--wait"]);
        Self { project, registry }
    }

    fn port(&self) -> String {
        self.project.ok(&["port", "front", "80"]).trim().to_owned()
    }

    fn guests(&self) -> BTreeSet<String> {
        let answer = ask(&self.port(), "GET", "").expect("the guest book answers");
        let guests = answer["guests"].as_array().unwrap_or_else(|| panic!("{answer}"));
        guests.iter().map(|guest| guest["name"].as_str().unwrap().to_owned()).collect()
    }

    /// What a query answers to the user with this password, who comes by the network.
    fn query(&self, password: &str) -> Result<String, String> {
        let login = format!("PGPASSWORD={password}");
        let mut words = vec!["exec", "-T", "-e", &login, "db", "psql", "-h", "db", "-U", "web", "-At"];
        words.extend(["-c", "select count(*) from guests", "guests"]);
        let output = self.project.run(&words);
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Who runs what, and who has the data.
    fn assert_permissions(&self) {
        let owner = |service: &str, path: &str| {
            self.project.ok(&["exec", "-T", service, "stat", "-c", "%U %a", path]).trim().to_owned()
        };
        assert_eq!(owner("db", "/var/lib/postgresql/data"), "postgres 700");
        assert!(owner("db", "/proc/1").starts_with("postgres "));
        assert!(owner("cache", "/data").starts_with("redis "));
        assert!(owner("cache", "/proc/1").starts_with("redis "));
        assert!(owner("api", "/proc/1").starts_with("nobody "));
        let (_, error) = self.project.fails(&["exec", "-T", "api", "touch", "/here"]);
        assert!(error.contains("Read-only file system"), "{error}");
    }
}

/// What the guest book answers; `None` where it does not.
fn ask(port: &str, method: &str, body: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(port).ok()?;
    let length = body.len();
    write!(stream, "{method} / HTTP/1.0\r\nHost: web\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_well = head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 201");
    is_well.then(|| serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

#[test]
fn guests_are_known_after_down_and_up() {
    let web = Web::up("guests");
    for name in ["Ada", "Grace"] {
        assert_eq!(ask(&web.port(), "POST", name).unwrap()["name"], name);
    }
    let known = BTreeSet::from(["Ada", "Grace"].map(str::to_owned));
    assert_eq!(web.guests(), known);
    web.assert_permissions();
    web.project.ok(&["down"]);
    web.project.ok(&["up", "-d", "--wait"]);
    assert_eq!(web.guests(), known);
    // Redis has counted this visit and the one before.
    assert_eq!(ask(&web.port(), "GET", "").unwrap()["visits"], 3);
    web.assert_permissions();
    web.project.down();
    web.registry.forget();
}

#[test]
fn no_guest_is_lost_when_all_is_killed() {
    let web = Web::up("killed");
    let port = web.port();
    let (told, written) = mpsc::channel();
    for writer in 0..2 {
        let (told, port) = (told.clone(), port.clone());
        std::thread::spawn(move || {
            for number in 0.. {
                let name = format!("{number} of {writer}");
                // Once it is answered it is kept; nobody answers any more when all is killed.
                if ask(&port, "POST", &name).is_none() || told.send(name).is_err() {
                    break;
                }
            }
        });
    }
    drop(told);
    let mut known: BTreeSet<String> = written.iter().take(50).collect();
    // All processes of a container go with its first one, of which nobody takes care any more.
    let first: Vec<i32> = web.project.containers().iter().filter_map(first_process).collect();
    assert_eq!(first.len(), 4);
    // One may end with another.
    let first: Vec<_> = first.into_iter().map(pidfd).collect();
    web.project.kill_both();
    for process in &first {
        let _ = rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL);
        ended(process);
    }
    known.extend(written);
    assert!(known.len() >= 50, "{} were written", known.len());
    web.project.ok(&["up", "-d", "--wait"]);
    let there = web.guests();
    let lost: Vec<_> = known.difference(&there).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", known.len());
    web.assert_permissions();
    assert_eq!(web.query("let-me-in"), Ok(format!("{}\n", there.len())));
    let refused = web.query("another").expect_err("any password will do");
    assert!(refused.contains("password authentication failed"), "{refused}");
    web.project.down();
    web.registry.forget();
}

fn first_process(container: &Value) -> Option<i32> {
    i32::try_from(container["Pid"].as_i64()?).ok().filter(|pid| *pid > 0)
}
