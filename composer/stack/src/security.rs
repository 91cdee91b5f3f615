//! Items of `security_opt`, as the Docker engine reads them (moby, `daemon_unix.go`).

use std::path::{Path, PathBuf};

/// What an item says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    NoNewPrivileges(bool),
    /// `unconfined`.
    AllCalls,
    /// `builtin`.
    BuiltinProfile,
    /// A file with a profile.
    Profile(&'a str),
    /// `systempaths=unconfined`.
    Unmasked,
    /// A label or a profile of a security module, and whether it asks for something.
    Module(&'a str, bool),
}

/// Why an item is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem<'a> {
    Key(&'a str),
    Value(&'a str, &'a str),
}

/// What may stand before the `=`.
pub(crate) const KEYS: [&str; 5] = ["apparmor", "label", "no-new-privileges", "seccomp", "systempaths"];

/// Reads an item.
pub(crate) fn parse(text: &str) -> Result<Item<'_>, Problem<'_>> {
    // Docker still takes the colon that it had first.
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    match split {
        None if text == "no-new-privileges" => Ok(Item::NoNewPrivileges(true)),
        None => Err(Problem::Key(text)),
        Some(("no-new-privileges", value)) => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Item::NoNewPrivileges(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Item::NoNewPrivileges(false)),
            value => Err(Problem::Value("no-new-privileges", value)),
        },
        Some(("seccomp", "unconfined")) => Ok(Item::AllCalls),
        Some(("seccomp", "builtin")) => Ok(Item::BuiltinProfile),
        Some(("seccomp", "")) => Err(Problem::Value("seccomp", "")),
        Some(("seccomp", file)) => Ok(Item::Profile(file)),
        Some(("systempaths", "unconfined")) => Ok(Item::Unmasked),
        Some(("systempaths", value)) => Err(Problem::Value("systempaths", value)),
        Some(("apparmor", value)) => Ok(Item::Module("AppArmor", value != "unconfined")),
        Some(("label", value)) => Ok(Item::Module("SELinux", value != "disable")),
        Some((key, _)) => Err(Problem::Key(key)),
    }
}

/// Where a profile is.
pub(crate) fn path(file: &str, folder: &Path) -> PathBuf {
    crate::files::clean(&folder.join(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items() {
        assert_eq!(parse("no-new-privileges"), Ok(Item::NoNewPrivileges(true)));
        assert_eq!(parse("no-new-privileges:true"), Ok(Item::NoNewPrivileges(true)));
        assert_eq!(parse("no-new-privileges=false"), Ok(Item::NoNewPrivileges(false)));
        assert_eq!(parse("seccomp:./a=b.json"), Err(Problem::Key("seccomp:./a")));
        assert_eq!(parse("seccomp:unconfined"), Ok(Item::AllCalls));
        assert_eq!(parse("seccomp=a.json"), Ok(Item::Profile("a.json")));
        assert_eq!(parse("systempaths=unconfined"), Ok(Item::Unmasked));
        assert_eq!(parse("apparmor=unconfined"), Ok(Item::Module("AppArmor", false)));
        assert_eq!(parse("label=type:x"), Ok(Item::Module("SELinux", true)));
        assert_eq!(parse("secomp=a.json"), Err(Problem::Key("secomp")));
        assert_eq!(parse("no-new-privileges:maybe"), Err(Problem::Value("no-new-privileges", "maybe")));
        assert_eq!(parse("unconfined"), Err(Problem::Key("unconfined")));
    }
}
