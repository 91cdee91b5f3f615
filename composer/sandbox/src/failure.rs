//! Why a program did not come to run, in words that travel.

use std::fmt::Display;
use std::io;

use serde::{Deserialize, Serialize};

/// A step on the way to exec that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step} {target}: {message}")]
pub struct StartFailure {
    /// What was being done.
    pub step: String,
    /// To what.
    pub target: String,
    /// errno(3), 0 where the system did not say no.
    pub errno: i32,
    /// Why it failed.
    pub message: String,
    /// What a shell would return: 127 for a program that is not there, 126 for one that cannot be executed, else 125.
    pub exit_code: i32,
    /// The value of the file that is to blame, as keys and places in lists below the service; empty where none is.
    pub at: Vec<String>,
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, StartFailure>;

impl StartFailure {
    /// A refusal of the system's.
    pub fn system(step: &str, target: impl Display, error: &io::Error) -> Self {
        Self {
            step: step.to_owned(),
            target: target.to_string(),
            errno: error.raw_os_error().unwrap_or(0),
            message: error.to_string(),
            exit_code: 125,
            at: Vec::new(),
        }
    }

    /// The same, for this value of the service's.
    pub fn at(self, keys: &[&str]) -> Self {
        Self { at: keys.iter().map(|key| (*key).to_owned()).collect(), ..self }
    }

    /// A refusal of ours.
    pub fn because(step: &str, target: impl Display, message: impl Into<String>) -> Self {
        Self {
            step: step.to_owned(),
            target: target.to_string(),
            errno: 0,
            message: message.into(),
            exit_code: 125,
            at: Vec::new(),
        }
    }
}

/// Names the step on an error.
pub trait Doing<T> {
    /// What was being done, to what.
    fn doing(self, step: &str, target: impl Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, step: &str, target: impl Display) -> Result<T> {
        self.map_err(|error| StartFailure::system(step, target, &error.into()))
    }
}
