//! End-to-end tests: the real binary, real namespaces, links and cgroups. They run as root.
//!
//! Each test brings up stacks of its own under a name that no other test uses, and [`stack::Project`] checks at
//! the end that nothing of them is left.

mod basics;
mod crash;
mod errors;
mod graph;
mod network;
mod stack;
