//! What this host offers, by trying it, and what to do about what is missing. Nothing of it is left.

mod around;
mod bounds;
mod groups;
mod system;
mod trial;

use serde::Serialize;

pub use trial::{Trial, attempt};

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something works less well, or not at all that not every stack needs.
    Warning,
    /// `up` cannot work.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to.
    pub topic: &'static str,
    /// What was looked at.
    pub name: String,
    /// How well it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn ok(topic: &'static str, name: &str, found: impl Into<String>) -> Self {
        Self { topic, name: name.to_owned(), verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warning(topic: &'static str, name: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { topic, name: name.to_owned(), verdict: Verdict::Warning, found: found.into(), advice }
    }

    fn missing(topic: &'static str, name: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Missing, ..Self::warning(topic, name, found, advice) }
    }
}

/// Looks at everything. `try_out` runs [`attempt`] in a process of its own, and answers with what that has printed.
pub fn examine(try_out: &dyn Fn(Trial) -> std::io::Result<String>) -> Vec<Finding> {
    let is_root = nix::unistd::geteuid().is_root();
    let mut findings = system::look(is_root);
    findings.extend(groups::look(is_root));
    findings.extend(trial::look(is_root, try_out));
    findings.extend(bounds::look());
    findings.extend(around::look());
    findings
}

/// A file of the kernel's, without its line break.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
