//! Limits of bandwidth that are in force, and what they have cost.

use std::collections::BTreeMap;

use composer_network::{Direction, counters};
use composer_stack::Bandwidth;

use super::{Error, root};
use crate::paths::StackPaths;
use crate::records::{self, ContainerRecord, StackRecord};

/// A container whose bandwidth is limited, by itself or with its stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// Its limits: the lower of its own and its stack's.
    pub rates: Bandwidth,
    /// Packets to it that were dropped, as more came than it may receive.
    pub dropped_in: u64,
    /// Packets of its own that were dropped, as it has sent more than it may.
    pub dropped_out: u64,
}

/// The limits of bandwidth of a stack, as they were when it was last looked at.
pub struct Shaping {
    stack: String,
    classes: Vec<(String, u16, Bandwidth)>,
}

impl Shaping {
    /// Looks at a stack's records.
    ///
    /// # Errors
    /// [`Error::NotRoot`].
    pub fn read(stack: &str) -> Result<Self, Error> {
        root()?;
        Ok(Self { stack: stack.to_owned(), classes: classes(stack) })
    }

    /// The limited containers, by name.
    ///
    /// # Errors
    /// [`Error::Bandwidth`].
    pub fn limited(&self) -> Result<BTreeMap<String, Limited>, Error> {
        limited(&self.stack, &self.classes)
    }
}

fn classes(stack: &str) -> Vec<(String, u16, Bandwidth)> {
    let paths = StackPaths::new(stack);
    let record: Option<StackRecord> = records::read(&paths.record());
    let cap = record.map(|record| record.bandwidth).unwrap_or_default();
    ContainerRecord::all(&paths)
        .filter_map(|record| Some((record.name, record.class?, lower(record.service.bandwidth, cap))))
        .filter(|(_, _, rates)| !rates.is_none())
        .collect()
}

fn limited(stack: &str, classes: &[(String, u16, Bandwidth)]) -> Result<BTreeMap<String, Limited>, Error> {
    if classes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let counters = counters(stack).map_err(|error| Error::Bandwidth { why: error.to_string() })?;
    let dropped = |way, class| counters.get(&(way, class)).map_or(0, |counter| counter.dropped);
    let limited = classes.iter().map(|(name, class, rates)| {
        let class = *class;
        // What is in force: what the kernel could not do, or somebody has taken away, has no class.
        let holds = |way, rate: Option<u64>| rate.filter(|_| counters.contains_key(&(way, class)));
        let rates = Bandwidth {
            ingress: holds(Direction::Ingress, rates.ingress),
            egress: holds(Direction::Egress, rates.egress),
        };
        let (dropped_in, dropped_out) =
            (dropped(Direction::Ingress, class), dropped(Direction::Egress, class));
        (name.clone(), Limited { rates, dropped_in, dropped_out })
    });
    Ok(limited.collect())
}

fn lower(own: Bandwidth, cap: Bandwidth) -> Bandwidth {
    let least = |own: Option<u64>, cap| own.into_iter().chain(cap).min();
    Bandwidth { ingress: least(own.ingress, cap.ingress), egress: least(own.egress, cap.egress) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_limits_the_lower_counts() {
        let of = |ingress, egress| Bandwidth { ingress, egress };
        assert_eq!(lower(of(Some(5), None), of(Some(3), Some(8))), of(Some(3), Some(8)));
        assert_eq!(lower(of(Some(5), Some(1)), of(None, Some(8))), of(Some(5), Some(1)));
        assert!(lower(of(None, None), of(None, None)).is_none());
    }
}
