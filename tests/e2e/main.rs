//! End-to-end tests: the real binary, real namespaces, links and cgroups. They run as root.
//!
//! Each test brings up stacks of its own under a name that no other test uses, and [`stack::Project`] checks at
//! the end that nothing of them is left.

mod attach;
mod attached;
mod bandwidth;
mod basics;
mod cgroups;
mod cli;
mod clients;
mod config;
mod container_names;
mod copy;
mod crash;
mod databases;
mod dev;
mod ends;
mod errors;
mod escape;
mod events;
mod graph;
mod hooks;
mod host_root;
mod isolation;
mod logging;
mod logs;
mod ls;
mod macvlan;
mod mounts;
mod names;
mod namespace;
mod network;
mod networks;
mod pause;
mod peers;
mod ports;
mod probes;
mod process;
mod reconcile;
mod restart;
mod run;
mod scale;
mod secrets;
mod shared_networks;
mod shop;
mod stack;
mod stopping;
mod terminal;
mod top;
mod turns;
mod verbs;
mod volumes;
mod watch;
