//! Which limits somebody has taken apart.

use std::collections::BTreeSet;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcHandle, TcMessage};

use super::messages::{ROOT, hooked, priority_of};
use super::socket::Traffic;
use super::{Direction, Host, Shaped, Shaper};
use crate::error::{Error, Result};

impl Host {
    /// The numbers of those of these containers whose limits are not in force on all their links that are there.
    ///
    /// # Errors
    /// The kernel's refusal to list what it has.
    pub async fn unshaped(&self, shaper: Shaper, all: Vec<Shaped>) -> Result<BTreeSet<u16>> {
        self.in_turn(move || {
            let mut traffic = Traffic::open()?;
            let mut lacking = BTreeSet::new();
            for direction in Direction::BOTH {
                lacking.extend(traffic.lacking(&shaper, &all, direction)?);
            }
            Ok(lacking)
        })
        .await
    }
}

impl Traffic {
    fn lacking(&mut self, shaper: &Shaper, all: &[Shaped], direction: Direction) -> Result<BTreeSet<u16>> {
        let is_limited = |shaped: &&Shaped| shaped.rates.of(direction).or(shaper.cap.of(direction)).is_some();
        let limited: Vec<&Shaped> = all.iter().filter(is_limited).collect();
        if limited.is_empty() {
            return Ok(BTreeSet::new());
        }
        let device = direction.device(&shaper.stack);
        let Some(index) = self.index(&device)? else {
            return Ok(limited.into_iter().map(|shaped| shaped.class).collect());
        };
        let failed = |error| Error::kernel("list the limits of", &device, error);
        let ask = TcMessage::with_index(index.cast_signed());
        let classes = self.list(RouteNetlinkMessage::GetTrafficClass(ask)).map_err(failed)?;
        let classes: BTreeSet<u16> = classes
            .into_iter()
            .filter_map(|class| match class {
                RouteNetlinkMessage::NewTrafficClass(class) if class.header.handle.major == ROOT.major => {
                    Some(class.header.handle.minor)
                }
                _ => None,
            })
            .collect();
        let sorted = self.priorities(&device, index, ROOT)?;
        let mut lacking = BTreeSet::new();
        for shaped in limited {
            let class = shaped.class;
            let links = self.links(shaped)?;
            let mut is_whole = links.is_empty() || (classes.contains(&class) && sorted.contains(&class));
            for (veth, index) in links {
                is_whole = is_whole && !self.priorities(veth, index, hooked(direction))?.is_empty();
            }
            if !is_whole {
                lacking.insert(class);
            }
        }
        Ok(lacking)
    }

    /// Of the filters in one place of an interface; none where there is no such place.
    fn priorities(&mut self, on: &str, index: u32, parent: TcHandle) -> Result<BTreeSet<u16>> {
        let mut ask = TcMessage::with_index(index.cast_signed());
        ask.header.parent = parent;
        let filters = self.list(RouteNetlinkMessage::GetTrafficFilter(ask));
        let filters = filters.map_err(|error| Error::kernel("list the filters of", on, error))?;
        let priorities = filters.into_iter().filter_map(|filter| match filter {
            RouteNetlinkMessage::NewTrafficFilter(filter) => Some(priority_of(&filter)),
            _ => None,
        });
        Ok(priorities.collect())
    }
}
