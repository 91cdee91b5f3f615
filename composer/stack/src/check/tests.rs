//! The checks by themselves, over trees that are written canonically; `tests/bad` has the texts.

use std::fmt::Write as _;
use std::path::Path;

use super::all;
use crate::diagnostic::Report;
use crate::options::{HostFacts, Lacking, LoadOptions, Purpose};
use crate::spec::{FILE, Record, Shape};
use crate::yaml::{self, Map};

fn options(purpose: Purpose) -> LoadOptions {
    let host = HostFacts { cpus_online: [0, 1].into(), memory: 4 << 30, ..HostFacts::default() };
    LoadOptions { purpose, host: Some(host), ..LoadOptions::default() }
}

fn messages(text: &str, purpose: Purpose) -> Vec<String> {
    let mut report = Report::default();
    let mut roots = yaml::parse(Path::new("compose.yaml"), text.to_owned(), &mut report).unwrap();
    all(&roots.remove(0), &Map::new(), std::path::Path::new("/stack"), &options(purpose), &mut report);
    report.found.into_iter().map(|found| found.message).collect()
}

/// `count` services, each needing the next; `last` is what the last one needs.
fn chain(count: usize, last: &str) -> String {
    let mut text = "services:\n".to_owned();
    for index in 0..count {
        let next = if index + 1 < count { format!("s{}", index + 1) } else { last.to_owned() };
        let needs = if next.is_empty() { String::new() } else { format!(", links: [{next}]") };
        let _ = writeln!(text, "  s{index}: {{image: x{needs}}}");
    }
    text
}

#[test]
fn long_chains_are_walked() {
    assert_eq!(messages(&chain(10_000, ""), Purpose::Config), [""; 0]);
}

#[test]
fn a_long_circle_is_one_error() {
    let found = messages(&chain(10_000, "s0"), Purpose::Config);
    let [message] = found.as_slice() else { panic!("{} messages", found.len()) };
    assert!(message.starts_with("services wait for each other: s0 -> s1 -> "), "{message}");
    assert!(message.ends_with(" -> s9999 -> s0") && message.len() < 200, "{message}");
}

/// Sections of many entries that are each held against each other; `tests/robust.rs` says how the work grows.
#[test]
fn many_entries_are_told_apart() {
    let mut text = "services:\n  a:\n    image: x\n    links: [b]\n    depends_on:\n".to_owned();
    for index in 0..300 {
        let _ = writeln!(text, "      s{index}: {{condition: service_started}}");
    }
    text.push_str("  b: {image: x}\nnetworks:\n");
    for index in 0..300 {
        let _ = writeln!(
            text,
            "  n{index}: {{ipam: {{config: [{{subnet: 10.{}.{}.0/24}}]}}}}",
            index / 256,
            index % 256
        );
    }
    let found = messages(&text, Purpose::Run);
    assert!(found.iter().any(|message| message == "`a` depends on `s9`, which is not defined"));
    assert!(!found.iter().any(|message| message.contains("overlap")));
}

#[test]
fn one_service_may_need_another_in_several_ways() {
    let text = "services:\n  a: {image: x, links: [b], depends_on: {b: {condition: service_started}}}\n  b: {image: x}\n";
    assert_eq!(messages(text, Purpose::Config), [""; 0]);
}

#[test]
fn limits_that_come_to_more_than_the_stacks_are_shown_and_run() {
    let text = "x-resources: {limits: {cpus: 1, memory: 134217728, pids: 100}}\nservices:\n  a: {image: x, cpus: 0.8, \
                mem_limit: 100663296, pids_limit: 40}\n  b: {image: x, scale: 2, cpus: 0.3, mem_limit: 33554432, pids_limit: 20}\n";
    let expected = [
        "the services' limits come to 160 MiB of memory together, 32 MiB above the stack's 128 MiB",
        "the services' limits come to 1.4 CPUs together, 0.4 above the stack's 1",
    ];
    assert_eq!(messages(text, Purpose::Config), expected);
    assert_eq!(messages(text, Purpose::Run), [""; 0]);
}

fn keys(record: &Record) -> impl Iterator<Item = &'static str> {
    record.fields.iter().map(|field| field.key)
}

#[test]
fn wrong_shapes_are_passed_over() {
    let service = match FILE.field("services").map(|field| &field.shape) {
        Some(Shape::Names(Shape::Record(service))) => service,
        _ => panic!("services are no mapping of records"),
    };
    for value in ["5", "[1, {a: b}]", "{a: [b], source: {}, test: 1}", "~", "\"\"", "\":\"", "true"] {
        for key in keys(service) {
            messages(&format!("services:\n  a: {{{key}: {value}}}\n"), Purpose::Run);
            messages(&format!("services:\n  a: {{{key}: [{value}]}}\n"), Purpose::Run);
            messages(&format!("services:\n  a: {{{key}: {{x: {value}}}}}\n"), Purpose::Run);
        }
        for key in keys(&FILE) {
            messages(&format!("{key}: {value}"), Purpose::Run);
            messages(&format!("{key}: {{x: {value}}}"), Purpose::Run);
        }
    }
}

#[test]
fn a_policy_that_the_host_cannot_do_is_refused() {
    let found = |lacks: &[Lacking], policy: &str| {
        let text = format!(
            "services:\n  a: {{x-rootfs: host, command: [x], mem_limit: 67108864, x-oom: {{policy: {policy}}}}}\n"
        );
        let mut report = Report::default();
        let mut roots = yaml::parse(Path::new("compose.yaml"), text, &mut report).unwrap();
        let mut options = options(Purpose::Run);
        options.host.as_mut().unwrap().lacks = lacks.to_vec();
        all(&roots.remove(0), &Map::new(), Path::new("/stack"), &options, &mut report);
        report.found.into_iter().map(|found| found.message).collect::<Vec<_>>()
    };
    assert_eq!(found(&[], "pause"), [""; 0]);
    assert_eq!(found(&[Lacking::Freezer], "kill-group"), [""; 0]);
    let message = &found(&[Lacking::Freezer], "pause")[0];
    assert!(message.starts_with("this host cannot do `pause`: it has no freezer"), "{message}");
    let message = &found(&[Lacking::Memory], "kill-group")[0];
    assert!(message.ends_with("its control groups have no memory controller"), "{message}");
}
