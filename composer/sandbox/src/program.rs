//! Finding and exec'ing a program, with a shell's exit codes for what goes wrong (127 not there, 126 not executable).

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::execve;

use crate::failure::{Result, StartFailure};
use crate::spec::ProcessSpec;
use crate::user::User;

/// Docker's default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// ENOENT, and it may lie elsewhere.
const NOT_FOUND: i32 = 127;
/// It is there and cannot be executed.
const NOT_EXECUTABLE: i32 = 126;

/// Its whole environment: what was asked for, and what every program counts on.
pub fn environment(process: &ProcessSpec, user: &User) -> Vec<(String, String)> {
    let mut env = process.env.clone();
    let mut add = |key: &str, value: &str| {
        if !env.iter().any(|(known, _)| known == key) {
            env.push((key.to_owned(), value.to_owned()));
        }
    };
    add("PATH", PATH);
    add("HOME", &user.home);
    if process.terminal {
        add("TERM", "xterm");
    }
    env
}

fn c_string(text: String) -> Result<CString> {
    CString::new(text).map_err(|error| {
        let text = String::from_utf8_lossy(&error.into_vec()).into_owned();
        StartFailure::because("pass", text.replace('\0', "\\0"), "a zero byte cannot be part of it")
    })
}

/// Becomes the program; returns only what kept it.
pub fn exec(argv: &[String], env: &[(String, String)]) -> Result<Infallible> {
    let Some(name) = argv.first() else {
        return Err(StartFailure::because("run", "the service's program", "there is nothing to execute"));
    };
    let path = env.iter().find(|(key, _)| key == "PATH").map_or(PATH, |(_, value)| value);
    let env: Vec<CString> =
        env.iter().map(|(key, value)| c_string(format!("{key}={value}"))).collect::<Result<_>>()?;
    let args: Vec<CString> = argv.iter().cloned().map(c_string).collect::<Result<_>>()?;
    let candidates: Vec<String> = if name.contains('/') {
        vec![name.clone()]
    } else {
        path.split(':')
            .map(|folder| format!("{}/{name}", if folder.is_empty() { "." } else { folder }))
            .collect()
    };
    let mut denied = None;
    for candidate in candidates {
        let file = c_string(candidate.clone())?;
        let Err(errno) = execve(&file, &args, &env);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR if fs::symlink_metadata(&candidate).is_err() => {}
            Errno::EACCES if !name.contains('/') => denied = Some(candidate),
            errno => return Err(refused(&candidate, errno)),
        }
    }
    match denied {
        Some(candidate) => Err(refused(&candidate, Errno::EACCES)),
        None => Err(missing(name, path)),
    }
}

fn missing(name: &str, path: &str) -> StartFailure {
    let message = if name.contains('/') {
        "no such file in the container".to_owned()
    } else if name.contains(char::is_whitespace) {
        format!("no such program in PATH ({path}); a program and its arguments are separate items of a list")
    } else {
        format!("no such program in PATH ({path})")
    };
    let failure = StartFailure::because("run", name, message).at(&["command"]);
    StartFailure { errno: libc::ENOENT, exit_code: NOT_FOUND, ..failure }
}

fn refused(file: &str, errno: Errno) -> StartFailure {
    let is_folder = Path::new(file).is_dir();
    let (message, exit_code) = match errno {
        Errno::EACCES if is_folder => ("it is a folder".to_owned(), NOT_EXECUTABLE),
        Errno::EACCES => ("permission denied: it is not executable for this user".to_owned(), NOT_EXECUTABLE),
        Errno::ENOEXEC => (
            "exec format error: neither a program for this machine nor a script with a `#!` line".to_owned(),
            NOT_EXECUTABLE,
        ),
        Errno::ENOENT | Errno::ENOTDIR => {
            let what = match fs::read_link(file) {
                Ok(target) => format!("it is a link to {}, which is missing", target.display()),
                Err(_) => format!("its {} is missing in the container", interpreter(file)),
            };
            (what, NOT_FOUND)
        }
        errno => (errno.desc().to_owned(), NOT_EXECUTABLE),
    };
    let failure = StartFailure::because("run", file, message).at(&["command"]);
    StartFailure { errno: errno as i32, exit_code, ..failure }
}

/// What a program that is there still needs: the first line of a script, or a dynamic loader.
fn interpreter(file: &str) -> String {
    let start = start_of(file).unwrap_or_default();
    match start.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()) {
        Some(line) => {
            let line = String::from_utf8_lossy(line);
            format!("interpreter {}", line.trim().split(' ').next().unwrap_or_default())
        }
        None => "dynamic loader".to_owned(),
    }
}

/// As much of a regular file as the kernel reads of one that it executes (BINPRM_BUF_SIZE of linux/binfmts.h): a container
/// may have a FIFO there by now.
fn start_of(path: &str) -> io::Result<Vec<u8>> {
    let file =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let mut start = Vec::new();
    if file.metadata()?.is_file() {
        file.take(256).read_to_end(&mut start)?;
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Failures only: a success would replace the test.
    fn failure(argv: &[&str], path: &str) -> StartFailure {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let Err(failure) = exec(&argv, &[("PATH".to_owned(), path.to_owned())]);
        failure
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let folder = std::env::temp_dir().join(format!("compose-program-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.display().to_string();
        let file = |name: &str, text: &str, mode: u32| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            file.display().to_string()
        };
        let plain = file("plain", "", 0o644);
        file("orphan", "#!/no/such/sh -e\n", 0o755);
        file("text", "echo", 0o755);
        assert_eq!(failure(&["absent"], &path).exit_code, 127);
        assert!(failure(&["absent -x"], &path).message.contains("separate items"));
        assert_eq!(failure(&["plain"], &path).exit_code, 126);
        assert_eq!(failure(&[&plain], "").exit_code, 126);
        assert_eq!(failure(&[&path], "").message, "it is a folder");
        assert_eq!(failure(&["text"], &path).exit_code, 126);
        let orphan = failure(&["orphan"], &path);
        assert_eq!(
            (orphan.exit_code, orphan.message.as_str()),
            (127, "its interpreter /no/such/sh is missing in the container")
        );
        assert_eq!(failure(&["a\0b"], &path).exit_code, 125);
        nix::unistd::mkfifo(&folder.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(start_of(&format!("{path}/fifo")).unwrap(), b"");
        fs::File::create(folder.join("large")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(start_of(&format!("{path}/large")).unwrap(), [0; 256]);
        fs::remove_dir_all(folder).unwrap();
    }
}
