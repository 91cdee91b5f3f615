//! What anchors name, and how much of it aliases may repeat.

use std::collections::HashMap;

use super::build::Built;
use super::{Node, limits};

/// Why an anchor is not kept or an alias does not stand for anything.
pub(super) enum Refused {
    InsideItself,
    Deep,
    Aliased,
    Anchored,
}

impl Refused {
    pub fn message(&self) -> String {
        match self {
            Self::InsideItself => "this alias is inside of what it stands for".to_owned(),
            Self::Deep => format!("this alias nests more than {} levels deep", limits::DEPTH),
            Self::Aliased => "the aliases in this file stand for too much".to_owned(),
            Self::Anchored => "the anchors in this file hold too much".to_owned(),
        }
    }
}

/// The anchors of one document, by the parser's number for them.
#[derive(Default)]
pub(super) struct Anchors {
    kept: HashMap<usize, Built>,
    /// Weight of all copies made for aliases so far, in every document.
    aliased: usize,
    /// Weight of all copies kept so far, in every document.
    anchored: usize,
}

impl Anchors {
    /// A new document knows nothing of the anchors of those before it.
    pub fn forget(&mut self) {
        self.kept.clear();
    }

    /// Keeps a copy of what an anchor names.
    pub fn keep(&mut self, id: usize, built: &Built) -> Result<(), Refused> {
        self.anchored = self.anchored.saturating_add(built.weight);
        if self.anchored > limits::ANCHORED {
            return Err(Refused::Anchored);
        }
        self.kept.insert(id, copy(built));
        Ok(())
    }

    /// What an alias stands for that is `depth` levels deep itself.
    pub fn copy(&mut self, id: usize, depth: usize) -> Result<Built, Refused> {
        let anchor = self.kept.get(&id).ok_or(Refused::InsideItself)?;
        if depth + anchor.height > limits::DEPTH {
            return Err(Refused::Deep);
        }
        self.aliased = self.aliased.saturating_add(anchor.weight);
        if self.aliased > limits::ALIASED {
            return Err(Refused::Aliased);
        }
        Ok(copy(anchor))
    }
}

fn copy(built: &Built) -> Built {
    let node: Node = built.node.clone();
    Built { node, ..*built }
}
