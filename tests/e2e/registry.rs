//! Debian's `docker-registry` on loopback.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::stack::text;

/// A registry on loopback, until it is dropped.
pub struct Registry {
    process: Child,
    /// `127.0.0.1:PORT`, which is what its images' names begin with.
    pub name: String,
}

impl Registry {
    /// With the images that `scripts/images` builds, without TLS, for everybody.
    pub fn plain() -> Self {
        Self::start("", "")
    }

    /// With TLS, for `ann` whose password is `secret`. Its certificate (`crt`), which nobody vouches for, and its key
    /// are left in the folder.
    pub fn secured(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let request =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=composer";
        let names =
            ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
        let made = Command::new("openssl")
            .args(request.split(' '))
            .args(names)
            .args(["-keyout", &at("key"), "-out", &at("crt")])
            .output()
            .expect("openssl is installed (scripts/check does)");
        assert!(made.status.success(), "{made:?}");
        let password = "ann:$2b$05$y1/bOhzmziM5kcL3Gclls.A6Dd827DlJZ84XHV2fnrc2U2BmgLJai\n";
        std::fs::write(at("passwords"), password).unwrap();
        let tls = format!(", tls: {{certificate: '{}', key: '{}'}}", at("crt"), at("key"));
        Self::start(&tls, &format!("auth: {{htpasswd: {{realm: test, path: '{}'}}}}", at("passwords")))
    }

    /// The same with these lines in its configuration: of `http`, and of the top level. Nobody can push to it: all tests
    /// serve the same folder.
    fn start(http: &str, more: &str) -> Self {
        Self::serve(&images().join("registry"), ", maintenance: {readonly: {enabled: true}}", http, more)
    }

    /// What is in this folder, with these lines in its configuration: of `storage`, of `http`, and of the top level.
    pub fn serve(folder: &Path, storage: &str, http: &str, more: &str) -> Self {
        let folder = folder.display();
        let config = format!(
            "version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: '{folder}'}}{storage}}}
http: {{addr: '127.0.0.1:0'{http}}}
{more}
"
        );
        let mut process = Command::new("docker-registry")
            .args(["serve", "/dev/stdin"])
            // Else it looks for a collector of traces.
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed (scripts/check does)");
        process.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
        let mut output = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        let name = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "docker-registry has ended:\n{said}");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',']).next().unwrap().to_owned();
            }
            said += &line;
        };
        // It blocks when nobody reads what it says.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { process, name }
    }

    /// No image of it is left in the host's store.
    pub fn forget(self) {
        let compose = |args: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_compose")).args(args).output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
            text(&output.stdout)
        };
        let list = compose(&["image", "ls", "--format", "json"]);
        let images = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let names = images.filter_map(|image| Some(image["Repository"].as_str()?.to_owned()));
        let ours: Vec<String> = names.filter(|name| name.starts_with(&self.name)).collect();
        assert!(!ours.is_empty(), "none of its images is here: {list}");
        let words: Vec<&str> = ["image", "rm"].into_iter().chain(ours.iter().map(String::as_str)).collect();
        compose(&words);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where `scripts/images` has put its library.
pub fn images() -> PathBuf {
    // Cargo's folder for tests is somewhere in the target folder.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let found = folder.ancestors().map(|folder| folder.join("images/library"));
    let mut found = found.filter(|folder| folder.join("made").exists());
    found.next().expect("the images are built: scripts/images (scripts/check does)")
}
