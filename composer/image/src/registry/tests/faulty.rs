//! A registry that fails as it is told: cuts downloads short, is in trouble, wants a token.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use super::{assert_whole, image, platform, pull, pull_with, refusal};
use crate::progress::Event;
use crate::pull::Policy;
use crate::reference::Reference;
use crate::registry::Registries;
use crate::stop::Stop;
use crate::store::Store;
use crate::testing::{Made, Scratch};

/// How a blob is begun that never goes on.
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nX-Half";

/// What the next requests meet.
#[derive(Default)]
pub(super) struct Faults {
    /// Blobs end after half of what is asked for, so often.
    pub cuts: u32,
    /// Requests for blobs are answered 503, so often.
    pub trouble: u32,
    /// Requests need the token that its own service gives to `ann`, whose secret is `secret`.
    token: bool,
    /// Who has given it the secret and asks for one gets the identity token.
    offers: bool,
    /// The same, of those that are given for the identity token `the-identity`: the last two.
    identity: bool,
    /// Manifests wait until so many have been given.
    until: usize,
    /// How many have been.
    given: usize,
    /// It does not know how to begin in the middle.
    no_ranges: bool,
    /// Blobs are begun and never go on.
    pub hangs: bool,
    /// What was asked for.
    asked: Vec<String>,
}

pub(super) struct Server {
    pub name: String,
    faults: Arc<Shared>,
}

struct Shared {
    faults: Mutex<Faults>,
    /// One more token has been given.
    given: Condvar,
}

impl Server {
    /// Serves until the test ends.
    pub fn start(made: Made, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let faults = Arc::new(Shared { faults: Mutex::new(faults), given: Condvar::new() });
        let (made, shared, own) = (Arc::new(made), Arc::clone(&faults), name.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (made, faults, name) = (Arc::clone(&made), Arc::clone(&shared), own.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), &name, &made, &faults));
            }
        });
        Self { name, faults }
    }

    pub fn asked(&self, part: &str) -> usize {
        self.faults.faults.lock().unwrap().asked.iter().filter(|line| line.contains(part)).count()
    }
}

/// One request a connection. Whoever speaks TLS gets an answer in plain text, as from any such server.
fn serve(stream: &TcpStream, name: &str, made: &Made, shared: &Shared) {
    let mut stream = stream;
    let mut first = [0];
    if stream.peek(&mut first).unwrap_or_default() == 1 && !b"GP".contains(&first[0]) {
        // Read first: what is left unread when a connection ends takes the answer with it.
        let _ = stream.read(&mut [0; 1 << 14]);
        let _ = stream.write_all(&reply("400 Bad Request", "", b""));
        return;
    }
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().split(b'\n');
    let mut next = || Some(String::from_utf8_lossy(&lines.next()?.ok()?).trim().to_owned());
    let Some(request) = next() else { return };
    let mut headers = String::new();
    while let Some(line) = next().filter(|line| !line.is_empty()) {
        headers += &(line.to_lowercase() + "\n");
    }
    let length = headers.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let mut faults = shared.faults.lock().unwrap();
    if request.contains("/manifests/") {
        faults = shared.given.wait_while(faults, |faults| faults.given < faults.until).unwrap();
    }
    let answer = match request.starts_with("POST /token ") {
        true => exchange(&String::from_utf8_lossy(&body), &mut faults),
        false => answer(&request, &headers, name, made, &mut faults),
    };
    shared.given.notify_all();
    let hangs = faults.hangs;
    drop(faults);
    // The client may have gone.
    let _ = stream.write_all(&answer);
    if hangs && answer.starts_with(HALF) {
        // Until the client ends the connection.
        let _ = stream.read(&mut [0]);
    }
}

/// What a token service gives for an identity token.
fn exchange(form: &str, faults: &mut Faults) -> Vec<u8> {
    faults.asked.push(format!("/token {form}"));
    let wanted =
        ["grant_type=refresh_token", "service=test", "refresh_token=the-identity", "client_id=composer"];
    if !wanted.iter().all(|part| form.split('&').any(|given| given == *part)) {
        return reply("401 Unauthorized", "", br#"{"error":"invalid_grant"}"#);
    }
    faults.given += 1;
    let seconds = if faults.given < faults.until { 1 } else { 300 };
    let token = format!(r#"{{"access_token":"identity-{}","expires_in":{seconds}}}"#, faults.given);
    reply("200 OK", "", token.as_bytes())
}

fn answer(request: &str, headers: &str, name: &str, made: &Made, faults: &mut Faults) -> Vec<u8> {
    let Some(path) = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) else {
        return reply("400 Bad Request", "", b"");
    };
    faults.asked.push(path.to_owned());
    if path.starts_with("/token") {
        // ann:secret
        if headers.contains("authorization: basic yw5uonnly3jlda==")
            && ["shop", "composer%2Flogin"]
                .iter()
                .any(|name| path.contains(&format!("repository%3A{name}%3Apull")))
        {
            let offers = faults.offers && path.contains("offline_token=true") && path.contains("account=ann");
            return match offers {
                true => reply("200 OK", "", br#"{"token":"the-token","refresh_token":"the-identity"}"#),
                false => reply("200 OK", "", br#"{"token":"the-token"}"#),
            };
        }
        return reply("401 Unauthorized", "", br#"{"details":"incorrect username or password"}"#);
    }
    let is_given = |number: usize| headers.contains(&format!("authorization: bearer identity-{number}\n"));
    // Manifests have waited.
    let oldest = if path.contains("/manifests/") { 1 } else { faults.given.saturating_sub(1).max(1) };
    let is_identified = (oldest..=faults.given).any(is_given);
    if faults.token && !headers.contains("authorization: bearer the-token")
        || faults.identity && !is_identified
    {
        let challenge =
            format!("WWW-Authenticate: Bearer realm=\"http://{name}/token\",service=\"test\"\r\n");
        return reply("401 Unauthorized", &challenge, br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
    }
    if path == "/v2/" {
        return reply("200 OK", "", b"{}");
    }
    let wanted = path.rsplit('/').next().unwrap_or_default();
    if path == "/v2/shop/manifests/latest" {
        return reply("200 OK", "", made.blob(&made.manifest));
    }
    let Some((_, blob)) = made.blobs.iter().find(|(digest, _)| digest.to_string() == wanted) else {
        return reply(
            "404 Not Found",
            "",
            br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#,
        );
    };
    // The configuration is never cut: it is small.
    if wanted == made.config.to_string() {
        return reply("200 OK", "", blob);
    }
    if faults.trouble > 0 {
        faults.trouble -= 1;
        return reply("503 Service Unavailable", "", b"back soon");
    }
    let start = headers.split("range: bytes=").nth(1).and_then(|range| range.split('-').next()?.parse().ok());
    let (status, blob) = match start.filter(|_| !faults.no_ranges) {
        Some(start) => ("206 Partial Content", &blob[start..]),
        None => ("200 OK", &blob[..]),
    };
    let mut answer = reply(status, "", blob);
    if faults.hangs {
        answer = reply("200 OK", "X-Half: yes\r\n", blob);
        answer.truncate(answer.len() - blob.len() / 2);
    } else if faults.cuts > 0 {
        faults.cuts -= 1;
        answer.truncate(answer.len() - blob.len() / 2);
    }
    answer
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let answer =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [answer.as_bytes(), body].concat()
}

#[test]
fn downloads_go_on_where_they_broke_off() {
    for no_ranges in [false, true] {
        let server = Server::start(image(), Faults { cuts: 4, no_ranges, ..Faults::default() });
        let scratch = Scratch::new();
        let retries = Mutex::new(0);
        let image = pull_with(&scratch, &format!("{}/shop", server.name), Registries::default(), &|event| {
            if matches!(event, Event::Retrying { .. }) {
                *retries.lock().unwrap() += 1;
            }
        });
        assert_whole(&image.unwrap());
        assert_eq!(*retries.lock().unwrap(), 4);
    }
}

#[test]
fn stopped_in_the_middle() {
    let server = Server::start(image(), Faults { hangs: true, ..Faults::default() });
    let scratch = Scratch::new();
    let stop = Stop::default();
    let root = scratch.path().join("store");
    let store = Store::open(&root).unwrap().with_stop(stop.clone());
    let reference = Reference::parse(&format!("{}/shop", server.name), scratch.path()).unwrap();
    let (told, begun) = std::sync::mpsc::channel();
    let tell = |event: Event<'_>| {
        if matches!(event, Event::Advanced { .. }) {
            told.send(()).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let pull = scope.spawn(|| store.pull(&reference, &platform(), Policy::Always, &tell));
        // All three layers are being written.
        (0..3).for_each(|_| begun.recv().unwrap());
        assert!(std::fs::read_dir(root.join("tmp")).unwrap().count() > 0);
        stop.stop();
        assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0);
        assert_eq!(pull.join().unwrap().unwrap_err().to_string(), "stopped");
    });
    // Nothing begins any more.
    let again = store.pull(&reference, &platform(), Policy::Always, &|_| ());
    assert_eq!(again.unwrap_err().to_string(), "stopped");
}

/// Short, so that the test is; whoever is slow is asked as often.
fn impatient() -> Registries {
    Registries { silence: Some(std::time::Duration::from_millis(1500)), ..Registries::default() }
}

#[test]
fn who_says_nothing_is_not_asked_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    // All of them stay open.
    std::thread::spawn(move || listener.incoming().for_each(|stream| kept.lock().unwrap().push(stream)));
    let scratch = Scratch::new();
    let said = refusal(pull(&scratch, &format!("{name}/shop"), impatient()));
    assert!(said.contains("cannot reach the registry of") && said.contains("does not answer"), "{said}");
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[test]
fn a_registry_that_goes_in_the_middle_is_named() {
    let server = Server::start(image(), Faults { hangs: true, ..Faults::default() });
    let scratch = Scratch::new();
    let said = refusal(pull(&scratch, &format!("{}/shop", server.name), impatient()));
    assert!(
        said.starts_with(&format!(
            "cannot read all of `{}/shop:latest`: {} has sent ",
            server.name, server.name
        )),
        "{said}"
    );
    assert!(said.contains("pull it again"), "{said}");
    let server = Server::start(image(), Faults { cuts: u32::MAX, no_ranges: true, ..Faults::default() });
    let said = refusal(pull(&scratch, &format!("{}/shop", server.name), impatient()));
    assert!(said.contains(&format!("{} has sent", server.name)), "{said}");
}

#[test]
fn trouble_that_passes() {
    let server = Server::start(image(), Faults { trouble: 3, ..Faults::default() });
    let scratch = Scratch::new();
    assert_whole(&pull(&scratch, &format!("{}/shop", server.name), Registries::default()).unwrap());
    assert_eq!(server.asked("/blobs/"), 3 + 4, "three in vain, three layers and the configuration");
    // All is there: only the manifest and the configuration are asked for.
    pull(&scratch, &format!("{}/shop", server.name), Registries::default()).unwrap();
    assert_eq!(server.asked("/blobs/"), 3 + 4 + 1);
}

#[test]
fn trouble_that_stays() {
    let server = Server::start(image(), Faults { trouble: u32::MAX, ..Faults::default() });
    let scratch = Scratch::new();
    let said = refusal(pull(&scratch, &format!("{}/shop", server.name), Registries::default()));
    assert!(said.contains("/shop:latest`") && said.contains("answers 503: back soon"), "{said}");
}

#[test]
fn a_token() {
    let scratch = Scratch::new();
    let server = Server::start(image(), Faults { token: true, ..Faults::default() });
    let reference = format!("{}/shop", server.name);
    let with = |secret: &str| {
        let path = scratch.path().join(secret);
        let config =
            format!(r#"{{"auths":{{"{}":{{"username":"ann","password":"{secret}"}}}}}}"#, server.name);
        std::fs::write(&path, config).unwrap();
        Registries { docker_config: Some(path), ..Registries::default() }
    };
    let said = refusal(pull(&scratch, &reference, with("wrong")));
    assert!(said.contains("incorrect username or password"), "{said}");
    assert_whole(&pull(&scratch, &reference, with("secret")).unwrap());
    let log_in = |secret: &str| with(secret).log_in(&server.name, None, None, &Stop::default());
    let said = log_in("wrong").unwrap_err().to_string();
    assert!(said.contains("cannot log in to") && said.contains("incorrect username or password"), "{said}");
    log_in("secret").unwrap();
}

#[test]
fn an_identity_token() {
    let scratch = Scratch::new();
    // The manifest comes when the third token has been asked for, and the first is not taken any more then.
    let server = Server::start(image(), Faults { identity: true, until: 3, ..Faults::default() });
    let reference = format!("{}/shop", server.name);
    let path = scratch.path().join("config.json");
    let with = |token: &str| {
        let config = format!(r#"{{"auths":{{"{}":{{"identitytoken":"{token}"}}}}}}"#, server.name);
        std::fs::write(&path, config).unwrap();
        Registries { docker_config: Some(path.clone()), ..Registries::default() }
    };
    let said = refusal(pull(&scratch, &reference, with("another")));
    assert!(said.contains("token service refuses") && said.contains("invalid_grant"), "{said}");
    assert_whole(&pull(&scratch, &reference, with("the-identity")).unwrap());
    assert_eq!(server.asked("scope=repository%3Ashop%3Apull"), server.asked("/token"));
    // Logging in with what is there keeps it as it is, and it has no user.
    let registries = with("the-identity");
    assert_eq!(registries.user(&server.name).unwrap(), Some(String::new()));
    registries.log_in(&server.name, None, None, &Stop::default()).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(kept["auths"][&server.name], serde_json::json!({"identitytoken": "the-identity"}));
    // A service that knows passwords alone.
    let server = Server::start(image(), Faults { token: true, ..Faults::default() });
    let config = format!(r#"{{"auths":{{"{}":{{"identitytoken":"other"}}}}}}"#, server.name);
    std::fs::write(&path, config).unwrap();
    let registries = Registries { docker_config: Some(path.clone()), ..Registries::default() };
    let said = registries.log_in(&server.name, None, None, &Stop::default()).unwrap_err().to_string();
    assert!(said.contains("cannot log in to") && said.contains("invalid_grant"), "{said}");
}

#[test]
fn an_identity_token_is_kept_in_place_of_the_password_where_one_is_given() {
    let scratch = Scratch::new();
    for offers in [true, false] {
        let server = Server::start(image(), Faults { token: true, offers, ..Faults::default() });
        let path = scratch.path().join("config.json");
        let registries = Registries { docker_config: Some(path.clone()), ..Registries::default() };
        let given = Some(("ann".to_owned(), "secret".to_owned()));
        registries.log_in(&server.name, given, None, &Stop::default()).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let wanted = match offers {
            true => serde_json::json!({"identitytoken": "the-identity"}),
            false => serde_json::json!({"auth": "YW5uOnNlY3JldA=="}),
        };
        assert_eq!(kept["auths"][&server.name], wanted);
        let given = Some(("ann".to_owned(), "wrong".to_owned()));
        registries.log_in(&server.name, given, None, &Stop::default()).unwrap_err();
    }
}

#[test]
fn a_blob_that_is_another() {
    let mut made = image();
    // As long as it should be, so that only its digest tells.
    let last = made.blobs[1].1.len() - 1;
    made.blobs[1].1[last] ^= 1;
    let server = Server::start(made, Faults::default());
    let scratch = Scratch::new();
    let said = refusal(pull(&scratch, &format!("{}/shop", server.name), Registries::default()));
    assert!(said.contains("is not what was asked for: its digest is"), "{said}");
}

#[test]
fn a_manifest_that_is_none() {
    let made = Made::with("amd64", &[], |text| match text.contains("schemaVersion") {
        true => r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
        false => text,
    });
    let server = Server::start(made, Faults::default());
    let scratch = Scratch::new();
    let said = refusal(pull(&scratch, &format!("{}/shop", server.name), Registries::default()));
    assert!(said.contains("schema 1"), "{said}");
}
