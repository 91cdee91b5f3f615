//! Flags of `set`.

use clap::Args;
use composer_stack::{MOST_PIDS, bytes, cpu_list};

/// Docker's least limit of memory, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;
/// One millisecond in each tenth of a second: the kernel's least quota.
const LEAST_CPUS: f64 = 0.01;

/// `compose set`.
#[derive(Debug, Args)]
#[command(
    after_help = "What is set stands over the file, through restarts, recreation and `up`, until the file itself \
says something else of that limit, `--reset`, or `down`. Zero lifts a limit. All that is named is changed, or nothing."
)]
pub struct Set {
    /// Services whose containers get other limits [default: the stack as a whole]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Change the cap of the whole stack (`x-resources`)
    #[arg(long, conflicts_with = "services")]
    pub stack: bool,
    /// Most memory: `256M`, `1.5g`
    #[arg(short, long, value_name = "BYTES", value_parser = memory)]
    pub memory: Option<u64>,
    /// Memory that is reclaimed from last
    #[arg(long, value_name = "BYTES", value_parser = amount)]
    pub memory_reservation: Option<u64>,
    /// Memory and swap together; -1 is no limit
    #[arg(long, value_name = "BYTES", value_parser = signed, allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// Memory above which it is reclaimed and processes are slowed down (cgroup v2)
    #[arg(long, value_name = "BYTES", value_parser = amount)]
    pub memory_high: Option<u64>,
    /// CPU time in CPUs: `1.5`
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    pub cpus: Option<f64>,
    /// Weight beside others when CPU time is scarce, 2 to 262144
    #[arg(short, long, value_name = "SHARES", value_parser = shares)]
    pub cpu_shares: Option<u64>,
    /// The CPUs that may be used: `0-2,4`; an empty list lifts the limit
    #[arg(long, visible_alias = "cpuset-cpus", value_name = "CPUS", value_parser = list)]
    pub cpuset: Option<String>,
    /// Most processes and threads; -1 is no limit
    #[arg(long, visible_alias = "pids-limit", value_name = "NUMBER", value_parser = pids, allow_hyphen_values = true)]
    pub pids: Option<i64>,
    /// Where more memory is in use than the new limit, have the kernel reclaim what it can
    #[arg(short, long)]
    pub force: bool,
    /// Take the limits of the file again
    #[arg(long)]
    pub reset: bool,
    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn amount(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| "an amount of memory, as `256M`, `1.5g` or `1073741824`".to_owned())
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
    match text.parse::<f64>() {
        Ok(cpus) if cpus == 0.0 || (cpus.is_finite() && cpus >= LEAST_CPUS) => Ok(cpus),
        Ok(cpus) if cpus > 0.0 => Err(format!("too few: the least is {LEAST_CPUS}")),
        Ok(_) | Err(_) => Err("a number of CPUs, as `0.5` or `2`".to_owned()),
    }
}

fn shares(text: &str) -> Result<u64, String> {
    let shares = text.parse().ok().filter(|shares| *shares == 0 || (2..=262_144).contains(shares));
    shares.ok_or_else(|| "it may be 2 to 262144".to_owned())
}

fn pids(text: &str) -> Result<i64, String> {
    let count = text.parse().ok().filter(|count| (-1..=MOST_PIDS).contains(count));
    count.ok_or_else(|| format!("it may be -1 to {MOST_PIDS}"))
}

fn list(text: &str) -> Result<String, String> {
    cpu_list(text).ok_or_else(|| "a list of CPUs, as `0-2,4`".to_owned())
}
