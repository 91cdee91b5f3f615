//! Registries of the tests: Debian's `docker-registry` on loopback, and one that gives half a layer and waits.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

/// `ann` and `secret`.
const PASSWORDS: &str = "ann:$2b$05$y1/bOhzmziM5kcL3Gclls.A6Dd827DlJZ84XHV2fnrc2U2BmgLJai\n";
const BASIC: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";

/// `docker-registry`, until it is dropped.
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub name: String,
    /// What it keeps.
    pub storage: PathBuf,
    process: Child,
    auth: bool,
}

impl Server {
    /// In this folder; `auth` tells whether it lets in `ann` alone.
    pub fn start(folder: &Path, auth: bool) -> Self {
        fs::create_dir_all(folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let storage = folder.join("storage");
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            storage.display()
        );
        if auth {
            let passwords = folder.join("passwords");
            fs::write(&passwords, PASSWORDS).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display());
        }
        fs::write(folder.join("config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed (scripts/check does)");
        let mut output = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on") {
            said.clear();
            assert!(output.read_line(&mut said).unwrap() > 0, "docker-registry has ended");
        }
        // It blocks when nobody reads what it says.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { name: format!("127.0.0.1:{port}"), storage, process, auth }
    }

    /// Uploads an image layout as `REPOSITORY:TAG`; returns how it is called.
    pub fn push(&self, layout: &Path, repository: &str, tag: &str) -> String {
        let index = json(&fs::read(layout.join("index.json")).unwrap());
        let manifest = fs::read(layout.join(blob(&index["manifests"][0]))).unwrap();
        let document = json(&manifest);
        for descriptor in document["layers"].as_array().unwrap().iter().chain([&document["config"]]) {
            let bytes = fs::read(layout.join(blob(descriptor))).unwrap();
            let (_, head) = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"", 202);
            let place = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
            let place = place.split_once(&self.name).map_or(place, |(_, path)| path);
            let digest = descriptor["digest"].as_str().unwrap();
            self.ask("PUT", &format!("{place}&digest={digest}"), "application/octet-stream", &bytes, 201);
        }
        let kind = document["mediaType"].as_str().unwrap();
        self.ask("PUT", &format!("/v2/{repository}/manifests/{tag}"), kind, &manifest, 201);
        format!("{}/{repository}:{tag}", self.name)
    }

    fn ask(&self, verb: &str, path: &str, kind: &str, body: &[u8], expected: u16) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.name).unwrap();
        let auth = if self.auth { BASIC } else { "" };
        let head = format!(
            "{verb} {path} HTTP/1.1\r\nHost: {}\r\n{auth}Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.name,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status: u16 = answer[9..12].parse().unwrap();
        assert_eq!(status, expected, "{verb} {path}: {answer}");
        (status, answer.replace("\r\n", "\n"))
    }

    /// Where it keeps a blob of an image.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.storage.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).unwrap();
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Where a layout has what a descriptor names.
fn blob(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap();
    format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap())
}

/// The digests of the layers of a layout, the lowest first.
pub fn layers(layout: &Path) -> Vec<String> {
    let index = json(&fs::read(layout.join("index.json")).unwrap());
    let manifest = json(&fs::read(layout.join(blob(&index["manifests"][0]))).unwrap());
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

/// A registry that gives half of each layer and then waits for its gate to open.
pub struct Gated {
    /// `127.0.0.1:PORT`.
    pub name: String,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_open: bool,
    /// How many layers have been begun.
    begun: usize,
}

impl Gated {
    /// Serves a layout as `shop:latest` until the tests end.
    pub fn start(layout: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let (gate, layout) = (Arc::new(Gate::default()), layout.to_owned());
        let shared = Arc::clone(&gate);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (gate, layout) = (Arc::clone(&shared), layout.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &layout, &gate));
            }
        });
        Self { name, gate }
    }

    /// Returns when so many layers have been begun.
    pub fn begun(&self, count: usize) {
        let state = self.gate.state.lock().unwrap();
        let _state = self.gate.changed.wait_while(state, |state| state.begun < count).unwrap();
    }

    /// How many layers have been begun.
    pub fn count(&self) -> usize {
        self.gate.state.lock().unwrap().begun
    }

    /// Lets all layers come whole.
    pub fn open(&self) {
        self.gate.state.lock().unwrap().is_open = true;
        self.gate.changed.notify_all();
    }
}

/// One request a connection; who speaks TLS is told so in plain text.
fn serve(mut stream: TcpStream, layout: &Path, gate: &Gate) {
    let mut first = [0];
    if stream.peek(&mut first).unwrap_or_default() == 1 && first != *b"G" {
        let _ = stream.read(&mut [0; 1 << 14]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let lines: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
    let index = json(&fs::read(layout.join("index.json")).unwrap());
    let manifest = &index["manifests"][0];
    let (bytes, is_layer) = if path == "/v2/" {
        (b"{}".to_vec(), false)
    } else if path.ends_with("/manifests/latest") {
        (fs::read(layout.join(blob(manifest))).unwrap(), false)
    } else {
        let digest = path.rsplit('/').next().unwrap();
        let bytes = fs::read(layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))).unwrap();
        (bytes, layers(layout).iter().any(|layer| layer == digest))
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
    let half = if is_layer { bytes.len() / 2 } else { bytes.len() };
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes[..half]));
    if is_layer {
        let mut state = gate.state.lock().unwrap();
        state.begun += 1;
        gate.changed.notify_all();
        let _state = gate.changed.wait_while(state, |state| !state.is_open).unwrap();
    }
    let _ = stream.write_all(&bytes[half..]);
}
