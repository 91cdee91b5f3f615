//! How much one file may hold, and what it says in few words: far more than any honest file, and so little that a file
//! made to do harm is refused in a second and some hundred MiB.

/// Bytes of text. Larger files are refused unread by whoever reads them, and here.
pub(crate) const TEXT: usize = 16 << 20;
/// Tabs that the parser does not take, for each of which all is read again; and bytes that are read again in all.
pub(super) const TABS: usize = 200;
pub(super) const REREAD: usize = 16 << 20;
/// Levels of nesting: keeps recursion over the tree within a thread's stack.
pub(super) const DEPTH: usize = 100;
/// Values, keys and items counted alike.
pub(super) const VALUES: usize = 1_000_000;
/// Documents of one file: each is merged over all before it.
pub(super) const DOCUMENTS: usize = 2_000;
/// How much aliases may add to a document, in values and 64-byte pieces of text: too little for a file that doubles
/// itself thirty times.
pub(super) const ALIASED: usize = 250_000;
/// How much anchors may hold, counted alike: each keeps a copy, and anchors inside of anchors copies of copies.
pub(super) const ANCHORED: usize = 1_000_000;
/// Ports that short forms of one project may stand for: each of TCP's and of UDP's once. A few words of a range make
/// tens of thousands of mappings.
pub(crate) const PORTS: usize = 2 * 65_535;
/// Errors after which reading stops: nobody reads on, and each costs as much as the lines it shows.
pub(super) const ERRORS: usize = 50;
/// What the pools of a network may add up to once they are merged: each may get all that another one has.
pub(crate) const POOLED: usize = 1_000_000;
