//! The keys that leave a program running (`--detach-keys`), in Docker's notation.

use std::collections::VecDeque;

/// Looks for the keys among those that are typed.
#[derive(Debug)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// What has been typed of them so far.
    held: Vec<u8>,
}

impl DetachKeys {
    /// The usual ones.
    pub fn usual() -> Self {
        Self { keys: vec![0x10, 0x11], held: Vec::new() }
    }

    /// Reads `ctrl-p,ctrl-q`: single characters and `ctrl-` with a letter or one of `@[\]^_`, joined by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys: Result<Vec<u8>, String> = text.split(',').map(key).collect();
        Ok(Self { keys: keys?, held: Vec::new() })
    }

    /// Passes keys on to `typed`, but for those that may be the beginning of what is sought; whether all of it has
    /// been typed.
    pub fn pass(&mut self, bytes: &[u8], typed: &mut VecDeque<u8>) -> bool {
        for byte in bytes {
            self.held.push(*byte);
            while !self.keys.starts_with(&self.held) {
                typed.push_back(self.held.remove(0));
            }
            if self.held == self.keys {
                return true;
            }
        }
        false
    }
}

fn key(text: &str) -> Result<u8, String> {
    let wrong = || {
        format!(
            "{text:?} is no key: `--detach-keys` takes characters, and `ctrl-` with a letter or one of @[\\]^_, joined by commas, such as `ctrl-p,ctrl-q`"
        )
    };
    if let [byte] = text.as_bytes() {
        return Ok(*byte);
    }
    match text.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
        Some([sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(sign - b'@'),
        _ if text == "DEL" => Ok(0x7f),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(keys: &str, typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut out = VecDeque::new();
        let found = typed.iter().any(|bytes| keys.pass(bytes, &mut out));
        (out.into(), found)
    }

    #[test]
    fn keys_are_dockers() {
        assert_eq!(DetachKeys::parse("ctrl-a,b").unwrap().keys, [1, b'b']);
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q").unwrap().keys, DetachKeys::usual().keys);
        assert_eq!(DetachKeys::parse("ctrl-@,ctrl-_,DEL").unwrap().keys, [0, 31, 127]);
        for wrong in ["", "ctrl-", "ctrl-A", "ctrl-1", "ab", "a,", "é"] {
            assert!(DetachKeys::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn they_are_found_wherever_a_read_ends() {
        assert_eq!(passed("a,b", &[b"xa", b"by"]), (b"x".to_vec(), true));
        assert_eq!(passed("a,b", &[b"a", b"xab"]), (b"ax".to_vec(), true));
        assert_eq!(passed("a,a,b", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(passed("a,b", &[b"ac"]), (b"ac".to_vec(), false));
        assert_eq!(passed("x", &[b"hex"]), (b"he".to_vec(), true));
    }
}
