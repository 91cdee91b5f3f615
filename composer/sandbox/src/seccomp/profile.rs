//! Profiles of the user's: Docker's JSON format (docs.docker.com, "Seccomp security profiles"; moby/profiles,
//! `seccomp/seccomp.go`).

use std::collections::BTreeSet;

use serde::Deserialize;

use super::policy::{ABIS, ALLOW, Abi, Action, Condition, Operator, Policy};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<Architecture>,
    #[serde(default)]
    syscalls: Vec<Syscall>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Syscall {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Where a rule counts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    caps: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Go's name of this machine's instruction set.
const GO_ARCH: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

/// Reads a profile for a program with these capabilities.
pub fn read(text: &str, capabilities: &BTreeSet<String>) -> Result<Policy, String> {
    let profile: Profile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut policy = Policy {
        default: action(&profile.default_action, profile.default_errno_ret)?,
        rules: std::collections::BTreeMap::new(),
        abis: abis(&profile),
    };
    let release = release();
    for rule in &profile.syscalls {
        let includes = rule.includes.as_ref().is_none_or(|filter| filter.all(capabilities, release));
        let excludes = rule.excludes.as_ref().is_some_and(|filter| filter.any(capabilities, release));
        if !includes || excludes {
            continue;
        }
        let action = action(&rule.action, rule.errno_ret)?;
        // What would be done anyway needs no rule, and one of the user's for it may not stand in another's way.
        if action == policy.default {
            continue;
        }
        let conditions: Vec<Condition> =
            rule.args.iter().flatten().map(Argument::condition).collect::<Result<_, _>>()?;
        let names = rule.names.iter().chain(Some(&rule.name).filter(|name| !name.is_empty()));
        for name in names {
            add(&mut policy, name, &conditions, action);
        }
    }
    Ok(policy)
}

/// As runc has it: comparisons of one argument are alternatives of each other.
fn add(policy: &mut Policy, name: &str, conditions: &[Condition], action: Action) {
    let indexes: BTreeSet<u8> = conditions.iter().map(|condition| condition.index).collect();
    if indexes.len() == conditions.len() {
        policy.add(name, conditions, action);
        return;
    }
    for condition in conditions {
        policy.add(name, std::slice::from_ref(condition), action);
    }
}

/// This machine's own always, and what the profile names of the others.
fn abis(profile: &Profile) -> Vec<&'static Abi> {
    let named = |abi: &Abi| {
        let below = profile.arch_map.iter().filter(|map| map.architecture == ABIS[0].name);
        let mut below = below.flat_map(|map| map.sub_architectures.iter().flatten());
        below.any(|name| name == abi.name) || profile.architectures.iter().any(|name| name == abi.name)
    };
    let (own, others) = ABIS.split_at(1);
    own.iter().chain(others.iter().filter(|abi| named(abi))).collect()
}

fn action(word: &str, errno: Option<u32>) -> Result<Action, String> {
    let data = |or: i32| errno.unwrap_or(or.cast_unsigned()) & libc::SECCOMP_RET_DATA;
    Ok(match word {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | data(libc::EPERM),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE | data(libc::EPERM),
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        "SCMP_ACT_NOTIFY" => return Err("`SCMP_ACT_NOTIFY` needs an agent, which is not there".to_owned()),
        other => return Err(format!("`{other}` is not an action")),
    })
}

impl Argument {
    fn condition(&self) -> Result<Condition, String> {
        let operator = match self.op.as_str() {
            "SCMP_CMP_EQ" => Operator::Equal,
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_LT" => Operator::Less,
            "SCMP_CMP_LE" => Operator::LessOrEqual,
            "SCMP_CMP_GT" => Operator::Greater,
            "SCMP_CMP_GE" => Operator::GreaterOrEqual,
            "SCMP_CMP_MASKED_EQ" => Operator::MaskedEqual(self.value),
            other => return Err(format!("`{other}` is not a comparison")),
        };
        if self.index > 5 {
            return Err(format!("a system call has no argument {}", self.index));
        }
        let value = if let Operator::MaskedEqual(_) = operator { self.value_two } else { self.value };
        Ok(Condition { index: self.index, operator, value })
    }
}

impl Filter {
    /// Whether all that it names is so.
    fn all(&self, capabilities: &BTreeSet<String>, release: Option<(u32, u32)>) -> bool {
        let arches = self.arches.iter().flatten().collect::<Vec<_>>();
        (arches.is_empty() || arches.iter().any(|arch| *arch == GO_ARCH))
            && self.caps.iter().flatten().all(|name| capabilities.contains(name))
            && self.min_kernel.as_deref().is_none_or(|least| is_at_least(release, least))
    }

    /// Whether anything that it names is so.
    fn any(&self, capabilities: &BTreeSet<String>, release: Option<(u32, u32)>) -> bool {
        self.arches.iter().flatten().any(|arch| arch == GO_ARCH)
            || self.caps.iter().flatten().any(|name| capabilities.contains(name))
            || self.min_kernel.as_deref().is_some_and(|least| is_at_least(release, least))
    }
}

/// The kernel's version and patch level.
fn release() -> Option<(u32, u32)> {
    numbers(&rustix::system::uname().release().to_string_lossy())
}

fn numbers(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn is_at_least(release: Option<(u32, u32)>, least: &str) -> bool {
    numbers(least).zip(release).is_none_or(|(least, release)| release >= least)
}
