//! End-to-end tests: the real binary, real namespaces, links and cgroups. They run as root.
//!
//! Each test brings up stacks of its own under a name that no other test uses, and [`stack::Project`] checks at
//! the end that nothing of them is left.

mod attached;
mod basics;
mod cgroups;
mod cli;
mod config;
mod copy;
mod crash;
mod databases;
mod errors;
mod escape;
mod graph;
mod host_root;
mod isolation;
mod logs;
mod mounts;
mod network;
mod peers;
mod process;
mod scale;
mod shop;
mod stack;
mod stopping;
mod watch;
