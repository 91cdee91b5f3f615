//! Ways to a registry: through a mirror, and through a proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::faulty::{Faults, Server as Faulty};
use super::real::Server;
use super::{assert_whole, image, pull, refusal};
use crate::registry::{Mirror, Proxies, Registries};
use crate::testing::Scratch;

/// A port where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn mirrored(registry: &str, mirrors: &[&str]) -> Registries {
    let mirror = |host: &&str| Mirror { host: (*host).to_owned(), http: true };
    let mirrors = [(registry.to_owned(), mirrors.iter().map(mirror).collect())].into();
    Registries { mirrors, ..Registries::default() }
}

#[test]
fn a_mirror_is_asked_first() {
    let (registry, mirror) = (Server::start(false), Server::start(false));
    mirror.push("shop/api:v1", &image());
    registry.push("shop/web:v1", &image());
    let with = mirrored(&registry.name, &[&mirror.name]);
    // Only the mirror has it.
    let name = format!("{}/shop/api:v1", registry.name);
    let scratch = Scratch::new();
    let found = pull(&scratch, &name, with.clone()).unwrap();
    assert_whole(&found);
    assert_eq!(found.reference, name, "it is known by the registry's name");
    // The mirror has it not.
    let name = format!("{}/shop/web:v1", registry.name);
    let scratch = Scratch::new();
    assert_whole(&pull(&scratch, &name, with).unwrap());
}

#[test]
fn a_mirror_that_is_down() {
    let (registry, dead) = (Server::start(false), nobody());
    registry.push("shop/web:v1", &image());
    let with = mirrored(&registry.name, &[&dead]);
    let scratch = Scratch::new();
    assert_whole(&pull(&scratch, &format!("{}/shop/web:v1", registry.name), with.clone()).unwrap());
    let said = refusal(pull(&scratch, &format!("{}/shop/web:v2", registry.name), with));
    assert!(said.contains("manifest unknown"), "{said}");
    assert!(said.contains(&format!("its mirror {dead}: ")) && said.contains("refused"), "{said}");
}

#[test]
fn what_only_a_mirror_has() {
    let (dead, mirror) = (nobody(), Faulty::start(image(), Faults::default()));
    let with = mirrored(&dead, &[&mirror.name]);
    let scratch = Scratch::new();
    assert_whole(&pull(&scratch, &format!("{dead}/shop"), with).unwrap());
    assert_eq!(mirror.asked("/manifests/"), 1, "what the mirror was tried with is not asked for again");
}

/// Connects whoever asks with CONNECT (RFC 9110, 9.3.6) to `to`, whatever name was asked for.
fn proxy(to: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (name, to) = (listener.local_addr().unwrap().to_string(), to.to_owned());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, to, asked) = (client.unwrap(), to.clone(), Arc::clone(&asked));
            std::thread::spawn(move || tunnel(client, &to, &asked));
        }
    });
    (name, all)
}

fn tunnel(mut client: TcpStream, to: &str, asked: &Mutex<Vec<String>>) {
    // Nothing follows the request before it is answered, so nothing is lost in the reader.
    let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
    asked.lock().unwrap().push(lines.next().unwrap());
    lines.find(String::is_empty).unwrap();
    let server = TcpStream::connect(to).unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        // Either side may end when it likes.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let there = std::thread::spawn(move || copy(from, back));
    copy(server, client);
    there.join().unwrap();
}

#[test]
fn through_a_proxy() {
    let server = Server::start(true);
    server.push("shop/api:v1", &image());
    let (proxy, asked) = proxy(&server.name);
    // A name that nobody but the proxy knows.
    let trusted = server.registries_of("secret", "registry.test");
    let with = Registries {
        proxies: Proxies { https: Some(format!("http://{proxy}")), ..Proxies::default() },
        ..trusted.clone()
    };
    let scratch = Scratch::new();
    assert_whole(&pull(&scratch, "registry.test/shop/api:v1", with.clone()).unwrap());
    let seen = asked.lock().unwrap().clone();
    assert!(
        !seen.is_empty() && seen.iter().all(|line| line == "CONNECT registry.test:443 HTTP/1.1"),
        "{seen:?}"
    );
    // Loopback goes without.
    let direct = Registries { proxies: with.proxies, ..server.registries("secret") };
    let scratch = Scratch::new();
    assert_whole(&pull(&scratch, &format!("{}/shop/api:v1", server.name), direct).unwrap());
    assert_eq!(*asked.lock().unwrap(), seen);
}
