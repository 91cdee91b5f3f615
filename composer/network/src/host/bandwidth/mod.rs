//! How fast containers receive and send at most, each by itself and all of a stack together.
//!
//! One mechanism for both. A stack has a device of kind ifb for either direction, with a tree of HTB classes: at the top
//! the stack's cap, below it a class a container, which borrows from the cap up to its own limit. On the host's end of
//! each veth pair a filter redirects what comes out of the container, and what goes into it, through the device: all of
//! it, whatever protocol it is. So a container's limit holds for all its networks together, and root in the container,
//! who may take apart what is on its own end, cannot reach any of it.
//!
//! Rates are those of IP packets: HTB counts the Ethernet header as well, which is allowed for at the size of full
//! packets. Packets come of up to 192 KiB (GSO), of which one is more than a second at 1 Mbit/s. So each class
//! ends in a TBF that never waits, but takes what is larger than a few milliseconds of the rate apart.
//!
//! u32 is the classifier, as kernels have had it for longest; its filters are looked through one by one, for each packet of
//! a device, of which there are as many as a stack has links.

mod check;
mod counters;
mod messages;
mod rate;
mod socket;

use super::Host;
use super::bridge::set_ipv6;
use crate::error::{Error, Result};
use crate::{names, netns};

pub use counters::{Counter, Counters, counters};
use messages::{FIRST, TRIAL};
use rate::{Queue, UNLIMITED};
use socket::{Request, Traffic};

/// Bits a second, as the container sees the directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Received at most.
    pub ingress: Option<u64>,
    /// Sent at most.
    pub egress: Option<u64>,
}

/// A direction, as the container sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// What it receives.
    Ingress,
    /// What it sends.
    Egress,
}

/// What holds for a stack as a whole.
#[derive(Debug, Clone)]
pub struct Shaper {
    /// Its name.
    pub stack: String,
    /// Its link group.
    pub group: u32,
    /// Of all containers together.
    pub cap: Rates,
}

/// What holds for one of its containers.
#[derive(Debug, Clone)]
pub struct Shaped {
    /// Its number, from [`FIRST_CLASS`], which no other container of the stack has.
    pub class: u16,
    /// The host's ends of its links.
    pub veths: Vec<String>,
    /// The largest packet on any of its networks, in bytes.
    pub mtu: u32,
    /// Its own limits.
    pub rates: Rates,
}

/// The lowest number of a container's class.
pub const FIRST_CLASS: u16 = FIRST;
/// The highest.
pub const LAST_CLASS: u16 = TRIAL - 1;

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The stack's device for it.
    pub fn device(self, stack: &str) -> String {
        match self {
            Self::Ingress => names::ingress(stack),
            Self::Egress => names::egress(stack),
        }
    }
}

impl Rates {
    /// Of this direction.
    pub fn of(self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }
}

impl Host {
    /// Sees to it that a stack has what its limits of this direction need, with its cap; whether that was not there
    /// before. The kernel is tried on a new device, so that what it lacks is known before a container starts.
    ///
    /// # Errors
    /// [`Error::NoShaping`] for what the kernel lacks; else its refusal.
    pub async fn bring_shaper(&self, shaper: Shaper, direction: Direction) -> Result<bool> {
        self.in_turn(move || Traffic::open()?.bring(&shaper, direction).map(|(_, is_new)| is_new)).await
    }

    /// Has a container's limits, and its stack's, be in force on all its links; those that it has no more are taken away.
    /// Whether a device had to be made: links of other containers that led to one before it are cut off until they are
    /// limited anew.
    ///
    /// # Errors
    /// As [`Host::bring_shaper`].
    pub async fn shape(&self, shaper: Shaper, shaped: Shaped) -> Result<bool> {
        self.in_turn(move || {
            let mut traffic = Traffic::open()?;
            let mut is_new = false;
            for direction in Direction::BOTH {
                is_new |= traffic.shape(&shaper, &shaped, direction)?;
            }
            Ok(is_new)
        })
        .await
    }

    /// Takes a container's class away, when its links are going; absent is fine.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn unshape(&self, stack: &str, class: u16) -> Result<()> {
        let devices = Direction::BOTH.map(|direction| direction.device(stack));
        self.in_turn(move || {
            let mut traffic = Traffic::open()?;
            devices.iter().try_for_each(|device| match traffic.index(device)? {
                Some(index) => traffic.ask(device, messages::forget(index, class)),
                None => Ok(()),
            })
        })
        .await
    }

    /// Takes a stack's devices of these directions away; absent is fine. No link may lead through them any more: it would
    /// be cut off.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn remove_shaper(&self, stack: &str, directions: &[Direction]) -> Result<()> {
        let devices: Vec<String> = directions.iter().map(|direction| direction.device(stack)).collect();
        self.in_turn(move || {
            let mut traffic = Traffic::open()?;
            devices.iter().try_for_each(|device| match traffic.index(device)? {
                Some(index) => traffic.ask(device, vec![messages::remove_device(index)]),
                None => Ok(()),
            })
        })
        .await
    }

    /// On a thread of its own: the kernel's one lock for changes of links is held for long by others.
    async fn in_turn<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // Never closed, so the error cannot happen; going on without a turn would be harmless.
        let _turn = self.shaping.acquire().await.ok();
        netns::apart("the limits of bandwidth", job).await
    }
}

impl Traffic {
    /// The index of the stack's device, and whether it was not there before.
    fn bring(&mut self, shaper: &Shaper, direction: Direction) -> Result<(u32, bool)> {
        let device = direction.device(&shaper.stack);
        let cap = shaper.cap.of(direction).map_or(UNLIMITED, |cap| rate::on_the_wire(cap, rate::MTU));
        let known = self.index(&device)?;
        let index = match known {
            Some(index) => index,
            None => self.make(&device, shaper.group)?,
        };
        let brought = self.ask(&device, messages::device(index, shaper.group, cap));
        let tried = match known {
            None => brought.and_then(|()| self.ask(&device, messages::trial(index))),
            Some(_) => brought,
        };
        if tried.is_err() && known.is_none() {
            // The first error is the one to tell; a device that stays is found by its name.
            let _ = self.ask(&device, vec![messages::remove_device(index)]);
        }
        tried.map(|()| (index, known.is_none()))
    }

    fn make(&mut self, device: &str, group: u32) -> Result<u32> {
        self.ask(device, vec![messages::make_device(device, group)])?;
        // Nobody is to talk on it by itself, as the kernel does on whatever has IPv6.
        set_ipv6(device, false).map_err(|error| Error::kernel("take IPv6 from", device, error))?;
        let gone = || Error::kernel("make", device, nix::errno::Errno::ENODEV);
        self.index(device)?.ok_or_else(gone)
    }

    fn shape(&mut self, shaper: &Shaper, shaped: &Shaped, direction: Direction) -> Result<bool> {
        let Shaped { class, mtu, .. } = shaped;
        let (own, cap) = (shaped.rates.of(direction), shaper.cap.of(direction));
        let on_the_wire = |rate| rate::on_the_wire(rate, *mtu);
        let Some(least) = [own, cap].into_iter().flatten().min() else {
            return self.unlimit(shaper, shaped, direction).map(|()| false);
        };
        let (device, is_new) = self.bring(shaper, direction)?;
        let name = direction.device(&shaper.stack);
        let ceiling = own.map_or(UNLIMITED, on_the_wire);
        let queue = Queue::of(on_the_wire(least), *mtu);
        let links = self.links(shaped)?;
        let veths = links.iter().map(|(veth, _)| *veth);
        self.ask(&name, messages::class(device, *class, ceiling, queue, veths))?;
        for (veth, index) in &links {
            self.ask(veth, messages::lead(*index, direction, device))?;
        }
        Ok(is_new)
    }

    fn unlimit(&mut self, shaper: &Shaper, shaped: &Shaped, direction: Direction) -> Result<()> {
        let name = direction.device(&shaper.stack);
        let Some(device) = self.index(&name)? else { return Ok(()) };
        for (veth, index) in self.links(shaped)? {
            self.ask(veth, vec![messages::lead_no_more(index, direction)])?;
        }
        self.ask(&name, messages::forget(device, shaped.class))
    }

    /// Those that are there: one that somebody has taken away is limited when it comes back.
    fn links<'a>(&mut self, shaped: &'a Shaped) -> Result<Vec<(&'a str, u32)>> {
        let links = shaped.veths.iter().map(|veth| Ok(self.index(veth)?.map(|index| (veth.as_str(), index))));
        links.filter_map(Result::transpose).collect()
    }

    fn ask(&mut self, on: &str, requests: Vec<Request>) -> Result<()> {
        self.exchange(on, requests).map(drop)
    }
}
