//! Debian's `docker-registry`, with the images that `scripts/images` builds.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A registry on loopback, until it is dropped. Nobody can push to it: all tests serve the same folder.
pub struct Registry {
    process: Child,
    /// `127.0.0.1:PORT`, which is what its images' names begin with.
    pub name: String,
}

impl Registry {
    /// Without TLS, for everybody.
    pub fn plain() -> Self {
        Self::start("", "")
    }

    /// With these lines in its configuration: of `http`, and of the top level.
    pub fn start(http: &str, more: &str) -> Self {
        let storage = images().join("registry").display().to_string();
        let config = format!(
            "version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: '{storage}'}}, maintenance: {{readonly: {{enabled: true}}}}}}
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
            .expect("docker-registry is installed (scripts/images does)");
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
