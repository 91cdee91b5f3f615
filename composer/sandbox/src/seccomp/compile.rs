//! A policy as a program of the kernel's filter machine (linux/filter.h, Documentation/userspace-api/seccomp_filter.rst).
//!
//! Each instruction set has a search tree over the numbers of its calls: when a filter is installed the kernel tries it
//! with every number there is, which takes longer than all else.

use std::collections::BTreeMap;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
};

use super::policy::{Abi, Action, Condition, ENOSYS, Operator, Policy, Rule};

/// `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// As many as the kernel takes (BPF_MAXINSNS).
pub const MOST: usize = 4096;

/// The fields of `struct seccomp_data`: offsets in bytes.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Where a jump leads that is not known yet: behind the rule.
const FAILS: u8 = u8::MAX;

/// What becomes of a run of numbers.
#[derive(Clone, Copy, PartialEq)]
enum Verdict<'a> {
    Answer(Action),
    Rules(&'a [Rule]),
}

/// The program of a policy.
pub fn compile(policy: &Policy) -> Vec<Instruction> {
    let mut program = vec![load(ARCHITECTURE)];
    for abi in &policy.abis {
        let mut section = vec![load(NUMBER)];
        section.extend(tree(&runs(policy, abi), policy.default));
        program.push(jump(BPF_JEQ, abi.audit, 1, 0));
        program.push(always(section.len()));
        program.extend(section);
    }
    // Numbers mean other calls there.
    program.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    program
}

/// Runs of numbers that have the same answer, by their first numbers, which begin at 0.
fn runs<'a>(policy: &'a Policy, abi: &Abi) -> Vec<(u32, Verdict<'a>)> {
    let numbered: BTreeMap<u32, &[Rule]> = policy
        .rules
        .iter()
        .filter_map(|(name, rules)| Some(((abi.number)(name)?, rules.as_slice())))
        .collect();
    let default = Verdict::Answer(policy.default);
    let mut runs = vec![(0, default)];
    let mut push = |from: u32, verdict: Verdict<'a>| match runs.last_mut() {
        Some((first, known)) if *first == from => *known = verdict,
        _ => runs.push((from, verdict)),
    };
    for (&number, &rules) in &numbered {
        let verdict = match rules {
            [rule] if rule.conditions.is_empty() => Verdict::Answer(rule.action),
            rules => Verdict::Rules(rules),
        };
        push(number, verdict);
        push(number + 1, default);
    }
    // Calls that are newer than the policy do not exist, as with runc: programs have another way then, which they do not
    // take where a call is forbidden.
    let is_refusal = policy.default & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_ERRNO;
    if let Some((newest, _)) = numbered.last_key_value().filter(|_| is_refusal) {
        push(newest + 1, Verdict::Answer(ENOSYS));
    }
    if let Some(foreign) = abi.foreign {
        push(foreign, Verdict::Answer(ENOSYS));
    }
    runs.dedup_by(|next, known| next.1 == known.1);
    runs
}

/// With the number loaded, goes to its run.
fn tree(runs: &[(u32, Verdict<'_>)], default: Action) -> Vec<Instruction> {
    let (lower, upper) = runs.split_at(runs.len() / 2);
    match (lower, upper) {
        ([], []) => vec![answer(default)],
        ([], [(_, verdict), ..]) => match verdict {
            Verdict::Answer(action) => vec![answer(*action)],
            Verdict::Rules(rules) => block(rules, default),
        },
        (_, [(first, _), ..]) => {
            let (below, above) = (tree(lower, default), tree(upper, default));
            let mut program = match u8::try_from(below.len()) {
                Ok(length) => vec![jump(BPF_JGE, *first, length, 0)],
                Err(_) => vec![jump(BPF_JGE, *first, 0, 1), always(below.len())],
            };
            program.extend(below);
            program.extend(above);
            program
        }
        (_, []) => Vec::new(),
    }
}

/// The rules of one call, one after the other.
fn block(rules: &[Rule], default: Action) -> Vec<Instruction> {
    let mut program = Vec::new();
    let small = small_argument(rules);
    if let Some(index) = small {
        let (low_at, high_at) = places(index);
        program.extend([load(high_at), jump(BPF_JEQ, 0, 1, 0), answer(default), load(low_at)]);
    }
    for rule in rules {
        let conditions = rule.conditions.iter();
        let mut code: Vec<Instruction> = match small {
            Some(_) => conditions.filter_map(small_condition).collect(),
            None => conditions.flat_map(condition).collect(),
        };
        code.push(answer(rule.action));
        let length = code.len();
        for (place, instruction) in code.iter_mut().enumerate() {
            // A rule has as many conditions as arguments are worth comparing: it is short.
            let over = u8::try_from(length - place - 1).unwrap_or(FAILS);
            for distance in [&mut instruction.jt, &mut instruction.jf] {
                if *distance == FAILS {
                    *distance = over;
                }
            }
        }
        program.extend(code);
    }
    program.push(answer(default));
    program
}

/// The argument that all rules look at alone, where each of them holds for 32 bits only: the upper half of it is looked
/// at once, the lower one loaded once.
fn small_argument(rules: &[Rule]) -> Option<u8> {
    let index = rules.first()?.conditions.first()?.index;
    let is_small = |condition: &Condition| {
        condition.index == index && condition.value <= u32::MAX.into() && small_condition(condition).is_some()
    };
    let bounds = |condition: &Condition| {
        matches!(condition.operator, Operator::Equal | Operator::Less | Operator::LessOrEqual)
    };
    let is_bounded = |rule: &Rule| rule.conditions.iter().all(is_small) && rule.conditions.iter().any(bounds);
    rules.iter().all(is_bounded).then_some(index)
}

/// Goes on where it holds of the value that is loaded, where one instruction can tell.
fn small_condition(condition: &Condition) -> Option<Instruction> {
    let value = condition.value as u32;
    match condition.operator {
        Operator::Equal => Some(jump(BPF_JEQ, value, 0, FAILS)),
        Operator::Greater => Some(jump(BPF_JGT, value, 0, FAILS)),
        Operator::GreaterOrEqual => Some(jump(BPF_JGE, value, 0, FAILS)),
        Operator::Less => Some(jump(BPF_JGE, value, FAILS, 0)),
        Operator::LessOrEqual => Some(jump(BPF_JGT, value, FAILS, 0)),
        Operator::NotEqual | Operator::MaskedEqual(_) => None,
    }
}

/// Where the halves of an argument are, the lower one first.
fn places(index: u8) -> (u32, u32) {
    let at = ARGUMENTS + 8 * u32::from(index);
    if cfg!(target_endian = "little") { (at, at + 4) } else { (at + 4, at) }
}

/// Goes on where it holds. The filter machine has 32 bits: an argument is compared by its halves.
fn condition(condition: &Condition) -> Vec<Instruction> {
    let Condition { index, operator, value } = *condition;
    let (low_at, high_at) = places(index);
    let (high, low) = halves(value);
    let ordered = |low_code, holds: bool| {
        // Decided by the upper half, unless that is the same.
        let (above, below) = if holds { (3, FAILS) } else { (FAILS, 2) };
        let (jt, jf) = if holds { (0, FAILS) } else { (FAILS, 0) };
        vec![
            load(high_at),
            jump(BPF_JGT, high, above, 0),
            jump(BPF_JEQ, high, 0, below),
            load(low_at),
            jump(low_code, low, jt, jf),
        ]
    };
    match operator {
        Operator::Equal => {
            vec![load(high_at), jump(BPF_JEQ, high, 0, FAILS), load(low_at), jump(BPF_JEQ, low, 0, FAILS)]
        }
        Operator::NotEqual => {
            vec![load(high_at), jump(BPF_JEQ, high, 0, 2), load(low_at), jump(BPF_JEQ, low, FAILS, 0)]
        }
        Operator::GreaterOrEqual => ordered(BPF_JGE, true),
        Operator::Greater => ordered(BPF_JGT, true),
        Operator::Less => ordered(BPF_JGE, false),
        Operator::LessOrEqual => ordered(BPF_JGT, false),
        Operator::MaskedEqual(mask) => {
            let (mask_high, mask_low) = halves(mask);
            vec![
                load(high_at),
                masked(mask_high),
                jump(BPF_JEQ, high, 0, FAILS),
                load(low_at),
                masked(mask_low),
                jump(BPF_JEQ, low, 0, FAILS),
            ]
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

const fn load(offset: u32) -> Instruction {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

const fn jump(kind: u32, value: u32, jt: u8, jf: u8) -> Instruction {
    instruction(BPF_JMP | kind | BPF_K, value, jt, jf)
}

/// Over as many instructions.
const fn always(over: usize) -> Instruction {
    instruction(BPF_JMP | BPF_JA, over as u32, 0, 0)
}

const fn masked(mask: u32) -> Instruction {
    instruction(BPF_ALU | BPF_AND | BPF_K, mask, 0, 0)
}

const fn answer(action: Action) -> Instruction {
    instruction(BPF_RET | BPF_K, action, 0, 0)
}

const fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: code as u16, jt, jf, k }
}
