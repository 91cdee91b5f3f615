//! Who called: the environment that a file's `${VAR}`, `~` and `x-rootfs: host` refer to.
//!
//! Under sudo that is not our own environment. sudo(8) drops most variables (`env_reset`), sets HOME, USER,
//! LOGNAME and SHELL to root's and PATH to its `secure_path`; but a user who writes `sudo compose up` means the
//! variables, the home and the programs they have themselves. The environment they had is that of the sudo process
//! among our ancestors, which root may read. It is used for values in the file alone, never for what this
//! process does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

type Environment = BTreeMap<String, String>;

/// Set by sudo to what root has; PATH is set as well, but by `secure_path`.
const REPLACED: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

/// The caller's surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Variables; those that are not UTF-8 are left out, no file could name their values.
    pub environment: Environment,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// Where the caller's programs are, as PATH lists them.
    pub path: String,
    /// User and group of whoever called with sudo: what is written for them is to be theirs.
    pub owner: Option<(u32, u32)>,
}

impl Caller {
    /// Looks at this process and, under sudo, at its ancestors.
    pub fn find() -> Self {
        let own: Environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let sudo = own.get("SUDO_UID").and_then(|uid| uid.parse().ok());
        let passwd = || fs::read_to_string("/etc/passwd").unwrap_or_default();
        match sudo {
            Some(uid) if rustix::process::geteuid().is_root() && !is_session(&own) => {
                let passwd = passwd();
                let group = own.get("SUDO_GID").and_then(|gid| gid.parse().ok()).unwrap_or(uid);
                let caller = merge(own, environment_before(uid), account(&passwd, uid), account(&passwd, 0));
                Self { owner: Some((uid, group)), ..caller }
            }
            _ => {
                let home = own.get("HOME").cloned().filter(|home| !home.is_empty());
                let uid = rustix::process::getuid().as_raw();
                let home = home.or_else(|| account(&passwd(), uid).map(|account| account.home));
                let path = own.get("PATH").cloned().unwrap_or_default();
                Self { environment: own, home: home.map(PathBuf::from), path, owner: None }
            }
        }
    }
}

/// One line of passwd(5). Read from the file: a static binary has no NSS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    name: String,
    home: String,
    shell: String,
}

fn account(passwd: &str, uid: u32) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _, _, home, shell] = fields[..] else {
            return None;
        };
        (id.parse() == Ok(uid)).then(|| Account { name: name.into(), home: home.into(), shell: shell.into() })
    })
}

/// Whether sudo was asked for a shell of root's (`sudo -i`, `sudo -s`, `sudo su`): what is typed there means
/// root's own environment.
fn is_session(own: &Environment) -> bool {
    let Some(command) = own.get("SUDO_COMMAND") else {
        return false;
    };
    let mut words = command.split(' ');
    let program = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    program == "su" || (program.ends_with("sh") && words.next().is_none())
}

/// The environment that sudo was started with; empty where no ancestor tells.
fn environment_before(uid: u32) -> Environment {
    let mut pid = std::process::id();
    while let Some((_, parent)) =
        fs::read(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_stat(&stat))
    {
        if parent <= 1 {
            break;
        }
        pid = parent;
        let folder = format!("/proc/{pid}");
        let is_sudo = fs::read(format!("{folder}/comm")).is_ok_and(|comm| comm == b"sudo\n");
        // Where sudo needs not stay, it has become the program: its parent is the caller's own shell.
        let is_callers = fs::metadata(&folder).is_ok_and(|process| process.uid() == uid);
        if is_sudo || is_callers {
            return fs::read(format!("{folder}/environ"))
                .map(|bytes| parse_environ(&bytes))
                .unwrap_or_default();
        }
    }
    Environment::new()
}

/// Name and parent of a process (proc_pid_stat(5)). The name may contain anything, even parentheses.
fn parse_stat(stat: &[u8]) -> Option<(String, u32)> {
    let text = String::from_utf8_lossy(stat);
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    Some((name, after.split_ascii_whitespace().nth(1)?.parse().ok()?))
}

fn parse_environ(bytes: &[u8]) -> Environment {
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Our own variables, above those from before sudo: `sudo VAR=value compose …` is meant. Where sudo itself has put
/// root's value, the caller's stands.
fn merge(own: Environment, before: Environment, caller: Option<Account>, root: Option<Account>) -> Caller {
    let of = |account: &Option<Account>, name: &str| {
        account.as_ref().map(|account| match name {
            "HOME" => account.home.clone(),
            "SHELL" => account.shell.clone(),
            _ => account.name.clone(),
        })
    };
    let mut environment = before.clone();
    for (name, value) in &own {
        let is_roots = REPLACED.contains(&name.as_str()) && of(&root, name).as_ref() == Some(value);
        // An explicit PATH cannot be told from sudo's `secure_path`.
        let from_sudo = is_roots || (name == "PATH" && before.contains_key("PATH"));
        if !from_sudo {
            environment.insert(name.clone(), value.clone());
        } else if !environment.contains_key(name) {
            let callers = of(&caller, name).filter(|_| name != "PATH");
            environment.insert(name.clone(), callers.unwrap_or_else(|| value.clone()));
        }
    }
    let home = environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| of(&caller, "HOME").map(PathBuf::from));
    // sudo's folders stay reachable behind the caller's: root's programs are in /usr/sbin.
    let mut folders: Vec<&str> = Vec::new();
    for path in [environment.get("PATH"), own.get("PATH")].into_iter().flatten() {
        for folder in path.split(':').filter(|folder| !folder.is_empty()) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    let path = folders.join(":");
    Caller { environment, home, path, owner: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000:Ann,,,:/home/ann:/bin/zsh\n";

    fn variables(list: &[(&str, &str)]) -> Environment {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn merged(own: &[(&str, &str)], before: &[(&str, &str)]) -> Caller {
        merge(variables(own), variables(before), account(PASSWD, 1000), account(PASSWD, 0))
    }

    #[test]
    fn what_sudo_has_dropped_comes_back() {
        let caller = merged(
            &[("HOME", "/root"), ("USER", "root"), ("PATH", "/usr/sbin:/usr/bin"), ("TAG", "mine")],
            &[
                ("HOME", "/home/ann"),
                ("USER", "ann"),
                ("PATH", "/home/ann/bin:/usr/bin"),
                ("TAG", "old"),
                ("DB", "x"),
            ],
        );
        assert_eq!(caller.home, Some("/home/ann".into()));
        assert_eq!(caller.path, "/home/ann/bin:/usr/bin:/usr/sbin");
        let get = |name: &str| caller.environment.get(name).map(String::as_str);
        assert_eq!((get("USER"), get("TAG"), get("DB")), (Some("ann"), Some("mine"), Some("x")));
        assert_eq!(get("PATH"), Some("/home/ann/bin:/usr/bin"));
    }

    #[test]
    fn without_a_sudo_process_the_password_file_knows_the_home() {
        let caller = merged(&[("HOME", "/root"), ("LOGNAME", "root"), ("PATH", "/bin")], &[]);
        assert_eq!(caller.home, Some("/home/ann".into()));
        assert_eq!(caller.environment.get("LOGNAME").map(String::as_str), Some("ann"));
        assert_eq!(caller.path, "/bin");
    }

    #[test]
    fn a_home_given_to_sudo_is_kept() {
        assert_eq!(merged(&[("HOME", "/srv")], &[("HOME", "/home/ann")]).home, Some("/srv".into()));
    }

    #[test]
    fn a_shell_of_roots_is_roots_session() {
        let session = |command: &str| is_session(&variables(&[("SUDO_COMMAND", command)]));
        assert!(session("/bin/bash") && session("/usr/bin/su -"));
        assert!(!session("/usr/bin/compose up") && !session("/bin/sh -c compose up") && !session(""));
    }

    #[test]
    fn processes_and_their_variables_are_read() {
        assert_eq!(parse_stat(b"12 (a) (b) S 7 12 12 0"), Some(("a) (b".to_owned(), 7)));
        assert_eq!(parse_environ(b"A=1\0B=x=y\0junk\0"), variables(&[("A", "1"), ("B", "x=y")]));
    }
}
