//! Platforms, and which manifest of an index is for one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An operating system and a processor, under the names of Go, as images have them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl Platform {
    /// Reads `OS/ARCHITECTURE[/VARIANT]`; the names by which the kernel calls processors are understood.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::Platform { text: text.to_owned() };
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| is_word(part)) {
            return Err(wrong());
        }
        match parts[..] {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(wrong()),
        }
    }

    /// This machine.
    #[must_use]
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// The platform under its one name (containerd's `platforms.Normalize`).
    pub(crate) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_lowercase);
        let (architecture, variant) = match (architecture.to_lowercase().as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
            ("powerpc64le", variant) => ("ppc64le", variant),
            (other, variant) => return Self::named(os, other, variant),
        };
        Self::named(os, architecture, variant)
    }

    fn named(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = os.to_lowercase();
        Self {
            os: if os == "macos" { "darwin".to_owned() } else { os },
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// How well an image for `offered` runs here: the least number is the best, `None` where it does not.
    fn distance(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        if self.variant == offered.variant {
            return Some(0);
        }
        // A processor runs what was made for its forerunners.
        let level = |platform: &Self| -> Option<u32> {
            match (platform.architecture.as_str(), platform.variant.as_deref()) {
                ("amd64", None) => Some(1),
                ("arm64", None) => Some(8),
                (_, Some(variant)) => variant.strip_prefix('v')?.parse().ok(),
                (_, None) => None,
            }
        };
        level(self)?.checked_sub(level(offered)?)
    }

    /// Whether an image for `offered` runs on this platform.
    pub(crate) fn runs(&self, offered: &Self) -> bool {
        self.distance(offered).is_some()
    }

    /// The best of what is offered, by its place; the first among equals, as Docker takes it.
    pub(crate) fn choose<'a>(&self, offered: impl Iterator<Item = Option<&'a Self>>) -> Option<usize> {
        offered
            .enumerate()
            .filter_map(|(at, platform)| Some((self.distance(platform?)?, at)))
            .min()
            .map(|(_, at)| at)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    #[test]
    fn one_name_for_each() {
        for (text, name) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(text).to_string(), name);
        }
        for text in ["linux", "", "linux/", "linux/a/b/c", "linux/../x", "lin ux/amd64"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_is_chosen() {
        let choose = |wanted: &str, offered: &[&str]| {
            let offered: Vec<Platform> = offered.iter().map(|text| platform(text)).collect();
            platform(wanted).choose(offered.iter().map(Some))
        };
        assert_eq!(choose("linux/amd64", &["linux/arm64", "linux/amd64"]), Some(1));
        assert_eq!(choose("linux/arm", &["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"]), Some(1));
        assert_eq!(choose("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"]), Some(1));
        assert_eq!(choose("linux/arm/v6", &["linux/arm/v7"]), None);
        assert_eq!(choose("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]), Some(1));
        assert_eq!(choose("linux/amd64", &["linux/amd64/v2"]), None);
        assert_eq!(choose("linux/amd64", &["windows/amd64", "unknown/unknown"]), None);
        assert_eq!(choose("linux/amd64", &["linux/amd64", "linux/amd64"]), Some(0));
    }
}
