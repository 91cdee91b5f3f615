//! What is made of each system call, before it is a program for the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::calls;
use crate::project;

/// What the kernel answers (seccomp(2), `SECCOMP_RET_*`).
pub type Action = u32;

pub const ALLOW: Action = libc::SECCOMP_RET_ALLOW;
pub const EPERM: Action = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
/// What a call that does not exist answers.
pub const ENOSYS: Action = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The calls of a program, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For calls without a rule that holds.
    pub default: Action,
    /// Of each call, the first rule that holds decides; one without conditions always does.
    pub rules: BTreeMap<String, Vec<Rule>>,
    /// For which of this machine's instruction sets it is; calls of others end the process.
    pub abis: Vec<&'static Abi>,
}

/// An answer, and when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them have to hold.
    pub conditions: Vec<Condition>,
    pub action: Action,
}

/// A comparison of an argument, as 64 bits without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    pub operator: Operator,
    pub value: u64,
}

/// How an argument is compared with the condition's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Of the bits of this mask alone.
    MaskedEqual(u64),
}

/// An instruction set with system calls of its own.
#[derive(Debug)]
pub struct Abi {
    /// The name in Docker's profiles.
    pub name: &'static str,
    /// AUDIT_ARCH_* of linux/audit.h.
    pub audit: u32,
    /// The number of a call.
    pub number: fn(&str) -> Option<u32>,
    /// Numbers from here on are calls of another instruction set under the same AUDIT_ARCH: x32.
    pub foreign: Option<u32>,
}

impl PartialEq for Abi {
    fn eq(&self, other: &Self) -> bool {
        self.audit == other.audit
    }
}

impl Eq for Abi {}

/// What this machine runs, its own first, then what it runs for compatibility.
#[cfg(target_arch = "x86_64")]
pub static ABIS: [Abi; 2] = [
    Abi {
        name: "SCMP_ARCH_X86_64",
        audit: 0xc000_003e,
        number: |name| {
            name.parse::<syscalls::x86_64::Sysno>().ok().and_then(|call| u32::try_from(call.id()).ok())
        },
        foreign: Some(0x4000_0000),
    },
    Abi {
        name: "SCMP_ARCH_X86",
        audit: 0x4000_0003,
        number: |name| {
            name.parse::<syscalls::x86::Sysno>().ok().and_then(|call| u32::try_from(call.id()).ok())
        },
        foreign: None,
    },
];
#[cfg(target_arch = "aarch64")]
pub static ABIS: [Abi; 2] = [
    Abi {
        name: "SCMP_ARCH_AARCH64",
        audit: 0xc000_00b7,
        number: |name| {
            name.parse::<syscalls::aarch64::Sysno>().ok().and_then(|call| u32::try_from(call.id()).ok())
        },
        foreign: None,
    },
    Abi {
        name: "SCMP_ARCH_ARM",
        audit: 0x4000_0028,
        number: |name| {
            name.parse::<syscalls::arm::Sysno>().ok().and_then(|call| u32::try_from(call.id()).ok())
        },
        foreign: None,
    },
];

impl Policy {
    /// Docker's default profile for a program with these capabilities, by their names.
    pub fn default(capabilities: &BTreeSet<String>) -> Self {
        let mut policy = Self { default: EPERM, rules: BTreeMap::new(), abis: ABIS.iter().collect() };
        let has = |name: &str| capabilities.contains(name);
        for names in calls::ALWAYS {
            policy.add(names, &[], ALLOW);
        }
        for (_, names) in calls::WITH.iter().filter(|(capability, _)| has(capability)) {
            policy.add(names, &[], ALLOW);
        }
        let on = |operator, value| Condition { index: 0, operator, value };
        for (first, last) in calls::FAMILIES {
            policy.add(
                "socket",
                &[on(Operator::GreaterOrEqual, first), on(Operator::LessOrEqual, last)],
                ALLOW,
            );
        }
        for personality in calls::PERSONALITIES {
            policy.add("personality", &[on(Operator::Equal, personality)], ALLOW);
        }
        if !has("CAP_SYS_ADMIN") {
            policy.add("clone", &[on(Operator::MaskedEqual(calls::NAMESPACES.into()), 0)], ALLOW);
            // Its flags lie in memory, where no filter sees them; libc then calls clone(2).
            policy.add("clone3", &[], ENOSYS);
        }
        policy
    }

    /// Takes away the one way to give a file to another project. The kernel reads 32 bits of an ioctl's number.
    pub fn fix_project(&mut self) {
        let number = Condition {
            index: 1,
            operator: Operator::MaskedEqual(u32::MAX.into()),
            value: project::SET.into(),
        };
        let rule = Rule { conditions: vec![number], action: EPERM };
        self.rules.entry("ioctl".to_owned()).or_default().insert(0, rule);
    }

    /// Adds a rule for each of these names.
    pub fn add(&mut self, names: &str, conditions: &[Condition], action: Action) {
        for name in names.split_whitespace() {
            let rules = self.rules.entry(name.to_owned()).or_default();
            // As libseccomp has it: without conditions, a rule counts for more than all that have some.
            match rules.first() {
                Some(first) if first.conditions.is_empty() => continue,
                _ if conditions.is_empty() => rules.clear(),
                _ => {}
            }
            rules.push(Rule { conditions: conditions.to_vec(), action });
        }
    }
}
