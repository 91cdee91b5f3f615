//! Tests on real network namespaces. Each test has a host of its own: a thread in a new namespace, so that neither
//! the machine's links nor its routes are touched and tests run beside each other. They need root.
#![allow(clippy::expect_used)]

mod announced;
mod bandwidth;
mod beside;
mod bridge;
mod dns;
mod firewall;
mod forwarding;
mod landscape;
mod macvlan;
mod measure;
mod modes;
mod neighbours;
mod networks;
mod plug;
mod proxy;
mod published;
mod registry;
mod robust;
mod sharing;
mod sysctl;
mod views;
mod world;
