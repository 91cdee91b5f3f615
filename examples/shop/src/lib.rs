//! What the six programs of the shop have in common.

pub mod journal;
pub mod model;
pub mod service;
pub mod store;

/// What can go wrong, in words: these programs log it and answer with it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result with such an error.
pub type Result<T> = std::result::Result<T, Error>;
