//! Flags of `set`.

use clap::Args;
use composer_stack::{MOST_PIDS, OomPolicy, Victim, bytes, cpu_list, oom_policy};

use super::TableFormat;

/// Docker's least limit of memory, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;
/// One millisecond in each tenth of a second: the kernel's least quota.
const LEAST_CPUS: f64 = 0.01;

/// `compose set`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a limit, those that are in force are printed: their keys, where they come from (`file`, `set`, or
`raised` by x-oom), and what the kernel has of them.

What is set stands over the file, through restarts, recreation and `up`, until the file itself says something else of that
limit, `--reset`, or `down`. Zero lifts a limit. All that is named is changed, or nothing.

Examples:
  compose set web                              # which limits has web?
  compose set web --memory 256M --cpus 1.5     # with no restart
  compose set web --memory 64M --force         # the kernel reclaims first
  compose set --stack --memory 1G              # the cap on all services together
  compose set web --oom raise:32M:512M         # what happens when its memory runs out
  compose set --reset web                      # the file's again"
)]
pub struct Set {
    /// Services whose containers get other limits [default: the stack as a whole]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Change the cap of the whole stack (`x-resources`)
    #[arg(long, conflicts_with = "services")]
    pub stack: bool,
    /// Most memory: `256M`, `1.5g`; 0 is no limit
    #[arg(short, long, value_name = "BYTES", value_parser = memory, allow_hyphen_values = true)]
    pub memory: Option<u64>,
    /// Memory that is reclaimed from last; 0 is none
    #[arg(long, value_name = "BYTES", value_parser = amount, allow_hyphen_values = true)]
    pub memory_reservation: Option<u64>,
    /// Memory and swap together; -1 is no limit, 0 leaves it to --memory
    #[arg(long, value_name = "BYTES", value_parser = signed, allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// Memory above which it is reclaimed and processes are slowed down (cgroup v2); 0 is no limit
    #[arg(long, value_name = "BYTES", value_parser = amount, allow_hyphen_values = true)]
    pub memory_high: Option<u64>,
    /// CPU time in CPUs: `1.5`; 0 is no limit
    #[arg(long, value_name = "CPUS", value_parser = cpus, allow_hyphen_values = true)]
    pub cpus: Option<f64>,
    /// CPU time that may be saved up for a burst, in microseconds; 0 is none
    #[arg(long, value_name = "MICROSECONDS", value_parser = burst, allow_hyphen_values = true)]
    pub cpu_burst: Option<u64>,
    /// Weight beside others when CPU time is scarce, 2 to 262144; 0 is the usual one
    #[arg(short, long, value_name = "SHARES", value_parser = shares, allow_hyphen_values = true)]
    pub cpu_shares: Option<u64>,
    /// The CPUs that may be used: `0-2,4`; an empty list lifts the limit
    #[arg(long, visible_alias = "cpuset-cpus", value_name = "CPUS", value_parser = list, allow_hyphen_values = true)]
    pub cpuset: Option<String>,
    /// The memory nodes that may be used: `0-1`; an empty list lifts the limit
    #[arg(long, value_name = "NODES", value_parser = nodes, allow_hyphen_values = true)]
    pub cpuset_mems: Option<String>,
    /// Most processes and threads; -1 and 0 are no limit
    #[arg(long, visible_alias = "pids-limit", value_name = "NUMBER", value_parser = pids, allow_hyphen_values = true)]
    pub pids: Option<i64>,
    /// Weight beside others when disks are busy, 10 to 1000; 0 is the usual one
    #[arg(long, value_name = "WEIGHT", value_parser = weight, allow_hyphen_values = true)]
    pub blkio_weight: Option<u16>,
    /// What happens when memory runs out, of services: `kill`, `kill-group`, `pause`, `raise:STEP:MAX`; of the stack, whose
    /// container goes first: `priority`, `biggest`, `newest`
    #[arg(long, value_name = "POLICY", value_parser = oom)]
    pub oom: Option<OnShortage>,
    /// Where more memory is in use than the new limit, have the kernel reclaim what it can
    #[arg(short, long)]
    pub force: bool,
    /// Take the limits of the file again
    #[arg(long)]
    pub reset: bool,
    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How the limits in force are printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table, hide_default_value = true)]
    pub format: TableFormat,
}

/// What happens when memory runs out.
#[derive(Clone, Copy, Debug)]
pub enum OnShortage {
    /// Of a service.
    Policy(OomPolicy),
    /// Of the stack.
    Victim(Victim),
}

fn oom(text: &str) -> Result<OnShortage, String> {
    match text {
        "priority" => Ok(OnShortage::Victim(Victim::Priority)),
        "biggest" => Ok(OnShortage::Victim(Victim::Biggest)),
        "newest" => Ok(OnShortage::Victim(Victim::Newest)),
        _ => {
            let read = oom_policy(text).map(OnShortage::Policy);
            read.map_err(|why| format!("{why}; of the stack `priority`, `biggest` or `newest`"))
        }
    }
}

fn amount(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| {
        let what = "an amount of memory, as `256M`, `1.5g` or `1073741824`, or 0 for no limit";
        if text.starts_with('-') { format!("it cannot be negative: {what}") } else { what.to_owned() }
    })
}

fn memory(text: &str) -> Result<u64, String> {
    match amount(text)? {
        bytes if (1..LEAST_MEMORY).contains(&bytes) => Err("too low: the least is 6 MiB".to_owned()),
        bytes => Ok(bytes),
    }
}

fn signed(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    amount(text).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn cpus(text: &str) -> Result<f64, String> {
    let what = "a number of CPUs, as `0.5` or `2`, or 0 for no limit";
    match text.parse::<f64>() {
        Ok(cpus) if cpus == 0.0 || (cpus.is_finite() && cpus >= LEAST_CPUS) => Ok(cpus),
        Ok(cpus) if cpus > 0.0 && cpus.is_finite() => Err(format!("too few: the least is {LEAST_CPUS}")),
        Ok(cpus) if cpus < 0.0 => Err(format!("it cannot be negative: {what}")),
        Ok(_) | Err(_) => Err(what.to_owned()),
    }
}

fn burst(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a number of microseconds, as `50000`, or 0 for none".to_owned())
}

fn shares(text: &str) -> Result<u64, String> {
    let shares = text.parse().ok().filter(|shares| *shares == 0 || (2..=262_144).contains(shares));
    shares.ok_or_else(|| "it may be 2 to 262144, or 0 for the usual weight".to_owned())
}

fn weight(text: &str) -> Result<u16, String> {
    let weight = text.parse().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    weight.ok_or_else(|| "it may be 10 to 1000, or 0 for the usual weight".to_owned())
}

fn pids(text: &str) -> Result<i64, String> {
    let count = text.parse().ok().filter(|count| (-1..=MOST_PIDS).contains(count));
    count.ok_or_else(|| format!("it may be -1 to {MOST_PIDS}; -1 and 0 are no limit"))
}

fn list(text: &str) -> Result<String, String> {
    cpu_list(text).ok_or_else(|| "a list of CPUs, as `0-2,4`".to_owned())
}

fn nodes(text: &str) -> Result<String, String> {
    cpu_list(text).ok_or_else(|| "a list of memory nodes, as `0-1`".to_owned())
}
