//! Arithmetic of rates and queues.

/// In bytes a second, above what any device has; that of a class without a limit.
pub(super) const UNLIMITED: u64 = 1 << 37;
/// Of a network where nobody has chosen another.
pub(super) const MTU: u32 = 1500;
/// Of an Ethernet frame, which HTB counts with the packet.
const HEADER: u32 = 14;
/// As [`HEADER`], with what VLANs add.
const LARGEST_HEADER: u32 = 22;
/// How much of a second a packet may take: what is larger is taken apart.
const PACKETS: u64 = 200;
/// How much of a second waits: enough for TCP to keep the rate over its losses, and no more than anybody wants to wait.
const WAITING: u64 = 20;
/// The kernel makes packets no larger by itself; what is allowed 64 KiB is let pass whatever it is.
const WHOLE: u64 = 64 << 10;
const NEVER_APART: u32 = 1 << 20;
/// So many packets may wait at low rates. More of them are seconds, and what TCP had lost it would send twice.
const FEWEST: u32 = 8;
/// So many bytes at most, at high rates.
const MOST: u64 = 8 << 20;

/// What waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    /// Bytes of a packet that is not taken apart.
    pub packet: u32,
    /// Bytes that wait at most.
    pub limit: u32,
    /// Packets that wait at most where there is room for few: then the oldest goes for a new one, by which TCP knows of it
    /// sooner than by the newest.
    pub few: Option<u32>,
}

/// The rate of frames, in bytes a second, at which packets of this size have a rate in bits a second.
pub(super) fn on_the_wire(bits: u64, mtu: u32) -> u64 {
    let mtu = u128::from(mtu.max(1));
    let bytes = u128::from(bits) * (mtu + u128::from(HEADER)) / mtu / 8;
    u64::try_from(bytes).unwrap_or(UNLIMITED).clamp(1, UNLIMITED)
}

impl Queue {
    /// Of a rate in bytes a second.
    pub fn of(rate: u64, mtu: u32) -> Self {
        let frame = mtu.max(MTU) + LARGEST_HEADER;
        let packet = match rate / PACKETS {
            WHOLE.. => NEVER_APART,
            less => u32::try_from(less).unwrap_or(NEVER_APART).max(frame),
        };
        let limit = u32::try_from((rate / WAITING).min(MOST)).unwrap_or(u32::MAX).max(FEWEST * frame);
        let few = (packet == frame).then(|| limit / frame);
        Self { packet, limit, few }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_packets_without_their_frames() {
        assert_eq!(on_the_wire(12_000_000, 1500), 1_514_000);
        assert_eq!(on_the_wire(1, 1500), 1);
        assert_eq!(on_the_wire(u64::MAX, 1500), UNLIMITED);
    }

    #[test]
    fn a_queue_takes_large_packets_apart_at_low_rates_and_holds_several_of_them() {
        let megabit = 125_000;
        assert_eq!(Queue::of(megabit, 1500), Queue { packet: 1522, limit: 8 * 1522, few: Some(8) });
        assert_eq!(Queue::of(2 * megabit, 1500), Queue { packet: 1522, limit: 12_500, few: Some(8) });
        let queue = Queue { packet: 31_250, limit: 312_500, few: None };
        assert_eq!(Queue::of(50 * megabit, 1500), queue);
        assert_eq!(Queue::of(10_000 * megabit, 1500).packet, NEVER_APART);
        for (rate, mtu) in [(1, 65_535), (megabit, 9000), (100 * megabit, 1500), (UNLIMITED, 1500)] {
            let queue = Queue::of(rate, mtu);
            assert!(queue.packet >= mtu + LARGEST_HEADER, "{queue:?} holds a packet of {mtu}");
            assert!(queue.limit >= 2 * (mtu + LARGEST_HEADER), "{queue:?} holds two of {mtu}");
            assert!(queue.packet == NEVER_APART || queue.limit >= 2 * queue.packet || queue.packet < 2 * mtu);
        }
    }
}
