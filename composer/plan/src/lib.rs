//! Decides: the ordered steps from what exists to what the file asks for.
//!
//! Pure: no files, no clock, no kernel. [`up`] and [`down`] turn a [`Stack`] and what was [`Observed`] into a
//! [`Plan`], a graph of steps each with its cause. The executor runs every step whose predecessors are done.

mod down;
mod edges;
mod gates;
mod graph;
mod observed;
mod tiers;
mod up;
mod wake;

pub use composer_stack::{Condition, Stack};
pub use down::{DownOptions, RemoveOptions, down, remove, stop};
pub use graph::{NOTHING, Plan, Planned, Step, StepId};
pub use observed::{Lack, Observed, ObservedContainer, ObservedNetwork, ObservedState};
pub use tiers::tiers;
pub use up::{Orphans, Recreate, UpOptions, run, up};
pub use wake::{missing_dependency, restart, start};
