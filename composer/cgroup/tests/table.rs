//! RESOURCES.md against the files of the kernel at hand, and what it says of those that do nothing any more.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use composer_cgroup::Limits;
use support::{Scratch, root_of};

const TABLES: &str = include_str!("../../../RESOURCES.md");

/// No file of Linux's: the kernel of a machine that composer is built on has it.
const FOREIGN: [&str; 1] = ["memory.shown_ram_in_bytes"];

/// What stands between backquotes in the tables.
fn rows() -> BTreeSet<&'static str> {
    let lines = TABLES.lines().filter(|line| line.starts_with('|'));
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// A file as the tables call it, whatever the size of its pages.
fn named(file: &str) -> String {
    match file.strip_prefix("hugetlb.").and_then(|rest| rest.split_once('.')) {
        Some((_, rest)) => format!("hugetlb.SIZE.{rest}"),
        None => file.to_owned(),
    }
}

/// The mounted hierarchies.
fn roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines
        .filter(|fields| matches!(fields[2], "cgroup" | "cgroup2"))
        .map(|fields| PathBuf::from(fields[1]))
        .collect()
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("list a group");
    let files = entries.map(|entry| entry.expect("an entry"));
    let files = files.filter(|entry| entry.file_type().expect("a type").is_file());
    files.map(|entry| entry.file_name().into_string().expect("a name")).collect()
}

#[test]
fn every_file_of_a_group_has_its_row() {
    let scratch = Scratch::new();
    let group = scratch.hierarchy.group_everywhere(&format!("{}/fresh", scratch.name));
    group.create(&Limits::default()).expect("create");
    let rows = rows();
    let mut found = BTreeSet::new();
    for root in roots() {
        let directory = root.join(&scratch.name).join("fresh");
        assert!(directory.is_dir(), "no group in {}", root.display());
        found.extend(files(&directory).iter().map(|file| named(file)));
    }
    assert!(found.contains("cgroup.procs") && found.len() > 40, "{found:?}");
    let missing: Vec<&String> = found
        .iter()
        .filter(|file| !rows.contains(file.as_str()) && !FOREIGN.contains(&file.as_str()))
        .collect();
    assert!(missing.is_empty(), "RESOURCES.md has no row for {missing:?}");
    // What the tables have of this kernel's version, and the kernel has not, for whoever reads the run.
    let is_v2 = !root_of("memory").1;
    let table = |heading: &str| TABLES.split(heading).nth(1).and_then(|rest| rest.split("\n## ").next());
    let column = if is_v2 { 3 } else { 4 };
    let controls = table("## Controls").expect("the table of controls");
    let cells =
        controls.lines().filter(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(column));
    let named: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let lacks: Vec<&str> =
        named.into_iter().filter(|file| file.contains('.') && !found.contains(*file)).collect();
    writeln!(std::io::stderr(), "controls that this kernel lacks: {}", lacks.join(", ")).expect("tell");
    for certain in ["cpuset.cpus", "pids.max"] {
        assert!(found.contains(certain) && !lacks.contains(&certain), "{certain}");
    }
}

/// On v1, of which the tables say most.
#[test]
fn what_is_said_to_do_nothing_does_nothing() {
    let (root, is_v1) = root_of("memory");
    if !is_v1 {
        return;
    }
    let scratch = Scratch::new();
    scratch.made("group", &Limits::default());
    let directory = root.join(&scratch.name).join("group");
    let read = |file: &str| fs::read_to_string(directory.join(file)).expect("read").trim().to_owned();
    let write = |file: &str, value: &str| {
        fs::write(directory.join(file), value).map_err(|error| error.raw_os_error())
    };
    let before = read("memory.kmem.limit_in_bytes");
    assert_eq!(write("memory.kmem.limit_in_bytes", "8388608"), Ok(()));
    assert_eq!(read("memory.kmem.limit_in_bytes"), before, "a write has no effect");
    assert_eq!(read("memory.kmem.slabinfo"), "");
    assert_eq!(write("memory.move_charge_at_immigrate", "1"), Err(Some(libc::EINVAL)));
    assert_eq!(write("memory.move_charge_at_immigrate", "0"), Ok(()));
    assert_eq!(
        (read("memory.use_hierarchy").as_str(), write("memory.use_hierarchy", "0")),
        ("1", Err(Some(libc::EINVAL)))
    );
    assert_eq!(write("memory.force_empty", "0"), Ok(()));
    assert_eq!(read("notify_on_release"), "0");
}
