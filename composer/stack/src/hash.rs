//! A service's configuration as one number, to see whether it changed.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::model::Service;

/// SHA-256, in hexadecimal, over the service's canonical JSON without `replicas`, `depends_on` and `develop`: none of
/// them is a reason to make a container anew.
pub fn config_hash(service: &Service) -> String {
    let mut service = service.clone();
    service.replicas = 0;
    service.depends_on.clear();
    service.watch.clear();
    // Every map of the model has string keys, so writing it cannot fail; its fields have one order.
    sha256(&serde_json::to_string(&service).unwrap_or_default())
}

/// SHA-256 of a text, in hexadecimal.
pub(crate) fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
