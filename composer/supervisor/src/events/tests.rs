//! What is appended is read once and in order, over rotations and over the end of the stack.

use std::collections::BTreeMap;
use std::fs;

use super::*;

struct Stack {
    name: String,
    paths: StackPaths,
}

impl Stack {
    fn new(name: &str) -> Self {
        let name = format!("unit-events-{name}-{}", std::process::id());
        let paths = StackPaths::at(&std::env::temp_dir().join(&name), &name);
        fs::create_dir_all(paths.state()).unwrap();
        Self { name, paths }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(std::env::temp_dir().join(&self.name));
    }
}

fn happening(time: u64) -> Happening {
    Happening {
        time,
        id: "0123".to_owned(),
        container: "shop-api-1".to_owned(),
        service: "api".to_owned(),
        image: "host".to_owned(),
        labels: BTreeMap::new(),
        action: Action::Exited { code: Some(3) },
    }
}

fn times(reader: &mut Reader) -> Vec<u64> {
    let mut found = Vec::new();
    reader.woken().unwrap();
    reader.read(&mut found).unwrap();
    found.iter().map(|happening| happening.time).collect()
}

#[test]
fn a_follower_misses_nothing_over_rotations_and_a_new_stack() {
    let stack = Stack::new("follow");
    let mut reader = Reader::at(stack.paths.clone()).unwrap();
    assert_eq!(times(&mut reader), [] as [u64; 0]);
    let mut journal = Journal { most: 600, ..Journal::new(stack.paths.clone()) };
    let mut told = 0;
    let mut expected = 0;
    for time in 1..=50 {
        journal.append(&happening(time)).unwrap();
        if time % 3 == 0 {
            for seen in times(&mut reader) {
                expected += 1;
                assert_eq!(seen, expected);
            }
            told = time;
        }
    }
    assert_eq!(expected, told);
    assert!(stack.paths.earlier_events().exists(), "no file of 600 bytes has made way for another");
    assert_eq!(times(&mut reader), [49, 50]);
    journal.most = MOST;
    journal.append(&happening(51)).unwrap();
    assert_eq!(times(&mut reader), [51]);
    // The last word of a stack that is gone with its folder is read all the same.
    journal.append(&happening(52)).unwrap();
    fs::remove_dir_all(stack.paths.state()).unwrap();
    journal.forget();
    journal.append(&happening(0)).unwrap();
    assert_eq!(times(&mut reader), [52]);
    fs::create_dir_all(stack.paths.state()).unwrap();
    journal.append(&happening(53)).unwrap();
    assert_eq!(times(&mut reader), [53]);
}

#[test]
fn half_a_line_spoils_no_other() {
    let stack = Stack::new("half");
    let line = serde_json::to_string(&happening(1)).unwrap();
    fs::write(stack.paths.events(), format!("{line}\n{}", &line[..20])).unwrap();
    let mut reader = Reader::at(stack.paths.clone()).unwrap();
    assert_eq!(times(&mut reader), [1]);
    Journal::new(stack.paths.clone()).append(&happening(2)).unwrap();
    assert_eq!(times(&mut reader), [2]);
}

#[test]
fn an_end_counts_as_told_by_its_container_and_its_time() {
    let stop = Happening { action: Action::Stopped, ..happening(9) };
    let told = [happening(3), stop];
    assert!(tells_end(&told, "shop-api-1", 3));
    assert!(!tells_end(&told, "shop-api-1", 4));
    assert!(!tells_end(&told, "shop-api-2", 3));
}
