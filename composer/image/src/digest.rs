//! Content digests, `sha256:…`: the names by which everything in a store and a registry is believed.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::error::{Error, Result};

/// A digest of one of the registered algorithms, in lower case. Safe as a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

impl Digest {
    /// Reads `ALGORITHM:HEX`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::Digest { text: text.to_owned() };
        let (algorithm, hex) = text.split_once(':').ok_or_else(wrong)?;
        let (algorithm, length) = match algorithm {
            "sha256" => (Algorithm::Sha256, 64),
            "sha384" => (Algorithm::Sha384, 96),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(wrong()),
        };
        if hex.len() != length || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }

    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The name of the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The digits that tell images apart on a screen, as Docker shows them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// An error where `found` is another digest than this, which was promised of `what`.
    pub(crate) fn expect(&self, found: &Self, what: impl FnOnce() -> String) -> Result<()> {
        if self == found {
            return Ok(());
        }
        Err(Error::Mismatch { what: what(), expected: self.clone(), found: found.clone() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Computes a digest of bytes as they come.
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(crate) fn sha256() -> Self {
        Self::Sha256(sha2::Sha256::new())
    }

    /// A hasher whose result can be compared to `digest`.
    pub(crate) fn like(digest: &Digest) -> Self {
        match digest.algorithm {
            Algorithm::Sha256 => Self::sha256(),
            Algorithm::Sha384 => Self::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => digest(Algorithm::Sha256, &hasher.finalize()),
            Self::Sha384(hasher) => digest(Algorithm::Sha384, &hasher.finalize()),
            Self::Sha512(hasher) => digest(Algorithm::Sha512, &hasher.finalize()),
        }
    }
}

fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hex = bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect();
    Digest { algorithm, hex }
}

/// Hashes and counts what is read through it.
pub(crate) struct Hashing<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(inner: R, hasher: Hasher) -> Self {
        Self { inner, hasher, count: 0 }
    }

    pub(crate) fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The digest of what was read, and how much it was.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.count)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_known_texts() {
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let long = Digest::parse(&format!("sha512:{}", "0".repeat(128))).unwrap();
        let mut hasher = Hasher::like(&long);
        hasher.update(b"abc");
        assert!(hasher.finish().to_string().starts_with("sha512:ddaf35a193617abacc417349ae204131"));
        let mut hasher = Hasher::like(&Digest::parse(&format!("sha384:{}", "0".repeat(96))).unwrap());
        hasher.update(b"abc");
        assert!(hasher.finish().to_string().starts_with("sha384:cb00753f45a35e8bb5a03d699ac65007"));
    }

    #[test]
    fn what_is_no_digest() {
        let hash = "a".repeat(64);
        assert!(Digest::parse(&format!("sha256:{hash}")).is_ok());
        for text in [
            hash.clone(),
            format!("sha256:{}", hash.to_uppercase()),
            format!("sha256:{hash}0"),
            format!("sha512:{hash}"),
            "sha256:../../../../etc/passwd".to_owned(),
            "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        ] {
            assert!(Digest::parse(&text).is_err(), "{text}");
        }
    }
}
