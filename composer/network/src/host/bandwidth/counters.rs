//! What the classes of a stack have let pass, and what they have dropped.

use std::collections::BTreeMap;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcMessage, TcStats2};

use super::Direction;
use super::messages::FIRST;
use super::socket::Traffic;
use crate::error::{Error, Result};

/// Of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// Bytes that it has let pass.
    pub bytes: u64,
    /// Packets that it has dropped, as more came than its rate and its queue could take.
    pub dropped: u64,
}

/// By direction and number of the container's class.
pub type Counters = BTreeMap<(Direction, u16), Counter>;

/// The counters of a stack's containers, as the kernel has them. It blocks.
///
/// # Errors
/// The kernel's refusal.
pub fn counters(stack: &str) -> Result<Counters> {
    let mut traffic = Traffic::open()?;
    let mut counters = Counters::new();
    for direction in Direction::BOTH {
        let device = direction.device(stack);
        let Some(index) = traffic.index(&device)? else { continue };
        let failed = |error| Error::kernel("read the counters of", &device, error);
        let ask = || TcMessage::with_index(index.cast_signed());
        for class in traffic.list(RouteNetlinkMessage::GetTrafficClass(ask())).map_err(failed)? {
            if let RouteNetlinkMessage::NewTrafficClass(class) = class {
                let handle = class.header.handle;
                if handle.major == 1 && handle.minor >= FIRST {
                    counters.entry((direction, handle.minor)).or_default().bytes = statistics(&class).0;
                }
            }
        }
        // A class counts only what was dropped whole; its queue what was dropped of a packet in parts, too.
        for queue in traffic.list(RouteNetlinkMessage::GetQueueDiscipline(ask())).map_err(failed)? {
            if let RouteNetlinkMessage::NewQueueDiscipline(queue) = queue
                && queue.header.index == index.cast_signed()
                && let Some(counter) = counters.get_mut(&(direction, queue.header.parent.minor))
            {
                counter.dropped = statistics(&queue).1;
            }
        }
    }
    Ok(counters)
}

/// Bytes and drops.
fn statistics(message: &TcMessage) -> (u64, u64) {
    let mut found = (0, 0);
    for attribute in &message.attributes {
        let TcAttribute::Stats2(statistics) = attribute else { continue };
        for part in statistics {
            match part {
                TcStats2::Basic(basic) => found.0 = basic.bytes,
                TcStats2::Queue(queue) => found.1 = queue.drops.into(),
                _ => {}
            }
        }
    }
    found
}
