//! What is shown of a container or of its stack: figures of one moment, and what has come since an earlier one.

use composer_supervisor::host::{Figures, Limited};

/// Whose figures these are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The container's name, or the stack's.
    pub name: String,
    /// The container's service; `None` for the stack.
    pub service: Option<String>,
    /// The container's id; empty for the stack.
    pub id: String,
}

/// One line.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub subject: Subject,
    /// All that was read.
    pub figures: Figures,
    /// In percent of one CPU.
    pub cpu: f64,
    /// Most of that: its own limit, its stack's, or all CPUs.
    pub cpu_limit: f64,
    /// In percent of the periods in which it wanted to run; `None` where it has no quota, or has rested.
    pub throttled: Option<f64>,
    /// In bytes, as Docker counts it.
    pub memory: u64,
    /// Most of that: its own limit, its stack's, or the host's memory; 0 for what does not run.
    pub memory_limit: u64,
    /// Bytes received and sent.
    pub net: (u64, u64),
    /// The same in each second.
    pub net_rates: (u64, u64),
    /// Bytes read and written.
    pub blocks: (u64, u64),
    /// The same in each second.
    pub block_rates: (u64, u64),
    /// For which of CPU, memory and disks tasks have waited most of the last 10 seconds, and how long in percent.
    pub pressure: Option<(String, f64)>,
    /// Where its bandwidth is limited.
    pub limited: Option<Limited>,
}

/// What bounds whoever has no limit of his own.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In percent of one CPU.
    pub cpu: f64,
    /// In bytes.
    pub memory: u64,
}

impl Bounds {
    /// Those inside a group that has limits too.
    pub fn within(self, figures: &Figures) -> Self {
        let cpu = figures.group.cpu.limit.map_or(self.cpu, |limit| self.cpu.min(limit * 100.0));
        let memory = figures.group.memory.limit.map_or(self.memory, |limit| self.memory.min(limit));
        Self { cpu, memory }
    }
}

impl Row {
    /// Of these figures; `before` are those of an earlier moment. One that has come meanwhile has had no time to speak of.
    pub fn new(subject: Subject, figures: Figures, before: Option<&Figures>, bounds: Bounds) -> Self {
        let earlier = before.unwrap_or(&figures);
        let usec = figures.time.saturating_sub(earlier.time) / 1000;
        let rate = |now: u64, then: u64| match usec {
            0 => 0,
            usec => (u128::from(now.saturating_sub(then)) * 1_000_000 / u128::from(usec))
                .try_into()
                .unwrap_or(u64::MAX),
        };
        let rates = |now: (u64, u64), then: (u64, u64)| (rate(now.0, then.0), rate(now.1, then.1));
        let (cpu_now, cpu_then) = (&figures.group.cpu, &earlier.group.cpu);
        let periods = cpu_now.periods.saturating_sub(cpu_then.periods);
        let throttled = cpu_now.throttled.saturating_sub(cpu_then.throttled);
        let bounds = bounds.within(&figures);
        let blocks = |figures: &Figures| figures.group.blocks().unwrap_or_default();
        let pressure = figures.group.pressure.iter().map(|(of, pressure)| (of.clone(), pressure.some.avg10));
        Self {
            cpu: percent(cpu_now.usage_usec.saturating_sub(cpu_then.usage_usec), usec),
            cpu_limit: bounds.cpu,
            throttled: (periods > 0).then(|| percent(throttled, periods)),
            memory: figures.memory(),
            memory_limit: bounds.memory,
            net: figures.traffic(),
            net_rates: rates(figures.traffic(), earlier.traffic()),
            blocks: blocks(&figures),
            block_rates: rates(blocks(&figures), blocks(earlier)),
            pressure: pressure.max_by(|a, b| a.1.total_cmp(&b.1)),
            limited: None,
            subject,
            figures,
        }
    }

    /// Of a container that does not run.
    pub fn at_rest(subject: Subject) -> Self {
        Self { subject, ..Self::default() }
    }

    /// Whether it is the stack's.
    pub fn is_stack(&self) -> bool {
        self.subject.service.is_none()
    }

    /// Its share of the memory that it may have.
    pub fn memory_percent(&self) -> f64 {
        percent(self.memory, self.memory_limit)
    }
}

pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_has_come_between_two_looks() {
        let mut before = Figures { time: 1_000_000_000, ..Figures::default() };
        before.group.cpu.usage_usec = 100;
        let mut now = Figures { time: 3_000_000_000, ..before.clone() };
        now.group.cpu.usage_usec = 1_000_100;
        (now.group.cpu.periods, now.group.cpu.throttled) = (20, 5);
        (now.group.memory.usage, now.group.memory.inactive_file) = (30, 10);
        now.group.memory.limit = Some(80);
        let bounds = Bounds { cpu: 200.0, memory: 1000 };
        let row = Row::new(Subject::default(), now.clone(), Some(&before), bounds);
        assert_eq!((row.cpu, row.cpu_limit, row.throttled), (50.0, 200.0, Some(25.0)));
        assert_eq!((row.memory, row.memory_limit, row.memory_percent()), (20, 80, 25.0));
        let first = Row::new(Subject::default(), now, None, bounds);
        assert_eq!((first.cpu, first.throttled), (0.0, None));
        assert_eq!(percent(5, 0), 0.0);
    }
}
