//! examples/dev, as its README has it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::{Project, text};

/// Whoever has called `sudo compose`.
const CALLER: (u32, u32) = (12_345, 12_346);

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env("SUDO_UID", CALLER.0.to_string()).env("SUDO_GID", CALLER.1.to_string());
    command
}

fn ask(project: &Project, request: &str) -> String {
    let address = project.field("web", "Address");
    let mut stream = TcpStream::connect((address.as_str().unwrap(), 8000)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn the_server_restarts_on_a_change_and_what_it_writes_is_the_callers() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dev");
    let file = fs::read_to_string(example.join("compose.yaml")).unwrap();
    let project = Project::new("dev", &file.replace("name: dev", ""));
    let app = project.folder.join("app");
    fs::create_dir(&app).unwrap();
    chown(&app, Some(CALLER.0), Some(CALLER.1)).unwrap();
    for entry in fs::read_dir(example.join("app")).unwrap().flatten() {
        fs::copy(entry.path(), app.join(entry.file_name())).unwrap();
    }
    let mut up =
        command(&project, &["up", "--watch"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut until =
        |wanted: &str| assert!(said.any(|line| line.contains(wanted)), "it ended without {wanted}");
    until("web-1  Healthy");
    assert!(ask(&project, "GET / HTTP/1.0\r\n\r\n").contains("Guests so far:"));
    assert_eq!(ask(&project, "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nAda"), "thank you\n");
    let book = fs::metadata(app.join("book.txt")).unwrap();
    assert_eq!((book.uid(), book.gid()), CALLER);

    let source = fs::read_to_string(app.join("server.py")).unwrap();
    // In one step, as editors do it: nobody starts a half of it.
    fs::write(project.folder.join("next.py"), source.replace("Guests so far:", "Visitors:")).unwrap();
    fs::rename(project.folder.join("next.py"), app.join("server.py")).unwrap();
    until("restart service \"web\": done");
    until("web-1  Healthy");
    assert_eq!(ask(&project, "GET / HTTP/1.0\r\n\r\n"), "Visitors:\nAda\n");

    let tests = command(&project, &["run", "--rm", "test"]).output().unwrap();
    assert!(tests.status.success() && text(&tests.stderr).contains("OK"), "{}", text(&tests.stderr));
    // Bytecode is in the volume, and the source has nothing beside it.
    assert!(!app.join("__pycache__").exists());
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130));
    project.down();
}
