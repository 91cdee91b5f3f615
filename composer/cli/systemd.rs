//! Units of systemd: their names and their text (systemd.syntax(7), systemd.service(5)).

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// The first line of every unit that is ours: what a user wrote under the same name is left alone.
pub const MARK: &str = "# Written by `compose enable`; `compose disable` removes it.";
/// UNIT_NAME_MAX of systemd, in bytes.
const LONGEST: usize = 255;

/// What a unit is made from.
pub struct Unit<'a> {
    /// The stack's name.
    pub stack: &'a str,
    /// Variables that both commands are run with.
    pub environment: Vec<(&'static str, OsString)>,
    /// The program, an absolute path, and its arguments before the verb.
    pub command: Vec<OsString>,
}

/// The unit's name; `None` where it would be too long for one. Names of projects have only characters that names of
/// units may have, and whatever else a name has is escaped as systemd does it.
pub fn name(stack: &str) -> Option<String> {
    let mut name = "compose-".to_owned();
    for byte in stack.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' => {
                name.push(char::from(byte))
            }
            // Writing to a string cannot fail.
            _ => drop(write!(name, "\\x{byte:02x}")),
        }
    }
    name += ".service";
    (name.len() <= LONGEST).then_some(name)
}

impl Unit<'_> {
    /// Its text.
    pub fn text(&self) -> String {
        let mut environment = String::new();
        for (name, value) in &self.environment {
            let mut assignment = OsString::from(format!("{name}="));
            assignment.push(value);
            // No variable is replaced here.
            environment += &format!("Environment={}\n", quoted(&assignment, "$"));
        }
        let words: Vec<String> = self.command.iter().skip(1).map(|word| quoted(word, "$$")).collect();
        // Nor in the program's path.
        let program = self.command.first().map(|path| quoted(path, "$")).unwrap_or_default();
        let command = [vec![program], words].concat().join(" ");
        let title = specifiers(self.stack);
        format!(
            "{MARK}\n\
             [Unit]\n\
             Description=Compose stack {title}\n\
             Wants=network-online.target\n\
             After=network-online.target local-fs.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             {environment}\
             ExecStart={command} unit start\n\
             ExecStop={command} unit stop\n\
             # Each service is killed after a grace period of its own.\n\
             TimeoutStopSec=infinity\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        )
    }
}

fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// A word in double quotes; `dollar` is what stands for a `$`.
fn quoted(word: &OsStr, dollar: &str) -> String {
    let mut out = String::from("\"");
    for chunk in word.as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => out.extend(['\\', letter]),
                '%' => out += "%%",
                '$' => out += dollar,
                '\n' => out += "\\n",
                '\t' => out += "\\t",
                letter if letter.is_ascii_control() => drop(write!(out, "\\x{:02x}", u32::from(letter))),
                letter => out.push(letter),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe() {
        assert_eq!(name("shop-2_b").as_deref(), Some("compose-shop-2_b.service"));
        assert_eq!(name("a/b @é").as_deref(), Some("compose-a\\x2fb\\x20\\x40\\xc3\\xa9.service"));
        assert!(name(&"a".repeat(239)).is_some());
        assert!(name(&"a".repeat(240)).is_none());
    }

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        let word = OsStr::from_bytes(b"a b%i \"q\" \\ $HOME\n\x01\xff");
        assert_eq!(quoted(word, "$$"), r#""a b%%i \"q\" \\ $$HOME\n\x01\xff""#);
        assert_eq!(quoted(OsStr::new("é;$"), "$"), "\"é;$\"");
    }

    #[test]
    fn the_unit_starts_and_stops_the_stack() {
        let unit = Unit {
            stack: "shop",
            environment: vec![("PATH", "/opt/50%/bin:/bin".into())],
            command: ["/opt/$x/compose", "--file", "/srv/my shop/$a.yaml"].map(OsString::from).to_vec(),
        };
        let text = unit.text();
        assert!(text.starts_with(MARK));
        for line in [
            "Description=Compose stack shop",
            "Type=oneshot",
            "RemainAfterExit=yes",
            "After=network-online.target local-fs.target",
            "Environment=\"PATH=/opt/50%%/bin:/bin\"",
            "ExecStart=\"/opt/$x/compose\" \"--file\" \"/srv/my shop/$$a.yaml\" unit start",
            "ExecStop=\"/opt/$x/compose\" \"--file\" \"/srv/my shop/$$a.yaml\" unit stop",
            "WantedBy=multi-user.target",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
