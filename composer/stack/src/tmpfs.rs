//! Items of `tmpfs`: `PATH` or `PATH:size=64m,mode=1770`.

use crate::size;

/// What an item says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tmpfs {
    pub target: String,
    pub read_only: bool,
    pub size: Option<u64>,
    pub mode: Option<u32>,
}

/// An option that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The key is none that is done here.
    Key(String),
    /// The key's value.
    Value { key: String, value: String },
}

/// Reads an item, and says which options were left out.
pub(crate) fn parse(text: &str) -> (Tmpfs, Vec<Problem>) {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut out = Tmpfs { target: target.to_owned(), ..Tmpfs::default() };
    let mut problems = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let understood = match key {
            "size" => {
                out.size = size::parse(value);
                out.size.is_some()
            }
            "mode" => {
                out.mode = permissions(value);
                out.mode.is_some()
            }
            "ro" => {
                out.read_only = true;
                true
            }
            // What every tmpfs of a container has.
            "rw" | "noexec" | "nosuid" | "nodev" => true,
            _ => {
                problems.push(Problem::Key(key.to_owned()));
                true
            }
        };
        if !understood {
            problems.push(Problem::Value { key: key.to_owned(), value: value.to_owned() });
        }
    }
    (out, problems)
}

/// Permission bits written in octal.
fn permissions(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mode| *mode <= 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items() {
        let (tmpfs, problems) = parse("/run:size=64m,mode=1770,ro,noexec");
        let expected =
            Tmpfs { target: "/run".to_owned(), read_only: true, size: Some(64 << 20), mode: Some(0o1770) };
        assert_eq!((tmpfs, problems.as_slice()), (expected, [].as_slice()));
        let (_, problems) = parse("/run:mode=8,uid=3");
        let value = Problem::Value { key: "mode".to_owned(), value: "8".to_owned() };
        assert_eq!(problems, [value, Problem::Key("uid".to_owned())]);
    }
}
