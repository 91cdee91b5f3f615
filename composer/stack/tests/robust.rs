//! Files made to do harm get an answer that is bounded in time and memory: a refusal, or work that grows with the
//! file's length. No test here measures absolute time; where growth matters, two sizes are compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use composer_stack::{LoadError, LoadOptions, Loaded, Purpose, Severity, load};

const SERVICE: &str = "services:\n  a:\n    x-rootfs: host\n    command: a\n";

fn read(text: String) -> Result<Loaded, LoadError> {
    read_for(Purpose::Config, text)
}

fn read_for(purpose: Purpose, text: String) -> Result<Loaded, LoadError> {
    load(&LoadOptions {
        files: vec![PathBuf::from("-")],
        stdin: Some(text.into()),
        current_dir: PathBuf::from("/stack"),
        environment: BTreeMap::new(),
        purpose,
        ..LoadOptions::default()
    })
}

/// Why the text is refused: the first message, with how many there are.
fn refusal(text: String) -> (String, usize) {
    match read(text) {
        Err(LoadError::Diagnostics(found)) => (
            found.iter().next().map(|first| first.message.clone()).unwrap_or_default(),
            found.count(Severity::Error),
        ),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    }
}

#[track_caller]
fn refused(text: String, message: &str) {
    let (first, count) = refusal(text);
    assert!(first.contains(message), "{first}");
    assert!(count <= 60, "{count} messages");
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        writeln!(text, "{}", line(index)).unwrap();
        text
    })
}

/// What this thread has had of a processor: other tests and programs are left out.
fn processor_time() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)).unwrap()
}

/// The quickest of three.
fn time(purpose: Purpose, text: &str) -> Duration {
    let once = || {
        let text = text.to_owned();
        let before = processor_time();
        let _ = read_for(purpose, text);
        processor_time() - before
    };
    (0..3).map(|_| once()).min().unwrap()
}

/// Eight times the file may take forty times as long: linear with much room, far from the square, which is 64.
#[track_caller]
fn grows_with_length(make: impl Fn(usize) -> String) {
    grows_with_length_for(Purpose::Config, make);
}

#[track_caller]
fn grows_with_length_for(purpose: Purpose, make: impl Fn(usize) -> String) {
    let (short, long) = (time(purpose, &make(2_000)), time(purpose, &make(16_000)));
    assert!(long < short * 40 + Duration::from_millis(20), "{short:?} became {long:?}");
}

#[test]
fn depth_of_any_kind_is_refused() {
    let deep = 100_000;
    refused("a: ".to_owned() + &"[".repeat(deep), "nested more than 100 levels");
    refused("a: ".to_owned() + &"{a: ".repeat(deep), "nested more than 100 levels");
    refused("- ".repeat(deep), "nested more than 100 levels");
    refused("? ".repeat(deep), "nested more than 100 levels");
    refused(lines(1_000, |level| " ".repeat(level) + "a:"), "nested more than 100 levels");
}

#[test]
fn a_closed_deep_list_is_refused_too() {
    refused("a: ".to_owned() + &"[".repeat(250) + &"]".repeat(250), "nested more than 100 levels");
}

#[test]
fn aliases_that_explode_are_refused() {
    let doubling = lines(40, |level| match level {
        0 => "x-0: &a0 [x, x]".to_owned(),
        _ => format!("x-{level}: &a{level} [*a{0}, *a{0}]", level - 1),
    });
    refused(doubling, "the aliases in this file stand for too much");
    let many = "x-a: &a 1\nx-b: [".to_owned() + &"*a,".repeat(1_000_000) + "]\n" + SERVICE;
    refused(many, "the aliases in this file stand for too much");
    let long =
        format!("x-a: &a {}\n", "x".repeat(1_000_000)) + "x-b: [" + &"*a,".repeat(100) + "]\n" + SERVICE;
    refused(long, "the aliases in this file stand for too much");
}

#[test]
fn long_keys_weigh_what_they_hold() {
    let key = format!("? \"{}\"\n  : v", "k".repeat(1_000_000));
    let aliases = |count: usize| format!("x-a: &a\n  {key}\nx-b: [{}]\n{SERVICE}", "*a,".repeat(count));
    assert!(read(aliases(2)).is_ok());
    refused(aliases(100), "the aliases in this file stand for too much");
    // The same where the key comes by `<<`.
    let merged = format!("x-a: &a\n  {key}\nx-b: &b {{<<: *a}}\nx-c: [{}]\n{SERVICE}", "*b,".repeat(100));
    refused(merged, "the aliases in this file stand for too much");
}

#[test]
fn anchors_inside_of_anchors_hold_no_more_than_a_bound() {
    let nested = (0..90).map(|level| format!("&a{level} [")).collect::<String>();
    let text = format!("x-a: {nested}{}{}\n{SERVICE}", "x,".repeat(50_000), "]".repeat(90));
    refused(text, "the anchors in this file hold too much");
}

#[test]
fn chains_of_merge_keys_are_flat() {
    let chain = |count: usize, key: fn(usize) -> String| {
        "x-m:\n  a0: &a0 {k: v}\n".to_owned()
            + &lines(count, |index| format!("  a{0}: &a{0} {{<<: *a{index}, {1}: v}}", index + 1, key(index)))
            + SERVICE
    };
    // Ten thousand times the same key is ten thousand keys in all.
    assert!(read(chain(10_000, |_| "k".to_owned())).is_ok());
    // A key more in each step is the sum of all numbers to ten thousand.
    refused(chain(10_000, |index| format!("k{index}")), "the aliases in this file stand for too much");
}

#[test]
fn what_is_merged_counts_as_deep_as_it_lies() {
    let text = "x-m:\n  a0: &a0 {k: {l: v}}\n".to_owned()
        + &lines(300, |index| format!("  a{0}: &a{0}\n    <<: *a{index}", index + 1))
        + SERVICE;
    assert!(read(text).is_ok());
    // Each level is one more here: the merged mapping is a value below a key.
    let text = "x-m:\n  a0: &a0 {k: v}\n".to_owned()
        + &lines(120, |index| format!("  a{0}: &a{0}\n    <<: {{k: *a{index}}}", index + 1))
        + SERVICE;
    refused(text, "this alias nests more than 100 levels deep");
}

#[test]
fn errors_without_end_end() {
    refused(
        SERVICE.to_owned() + &lines(100_000, |_| "    command: b".to_owned()),
        "`command` is given twice",
    );
    refused("x-a:\n".to_owned() + &lines(100_000, |_| "  ? [a]\n  : b".to_owned()), "a key must be a string");
    refused(format!("x-a:\n  <<: [{}]\n", "1,".repeat(100_000)), "`<<` must be a mapping");
    let one_line = format!("x-a: {{{}}}\n{SERVICE}", "a: b,".repeat(20_000));
    let Err(error) = read(one_line) else { panic!("accepted") };
    assert!(error.render(false).len() < 100_000, "{} bytes", error.render(false).len());
}

#[test]
fn more_values_or_bytes_than_any_file_has_are_refused() {
    refused(format!("x-a: [{}]\n{SERVICE}", "a,".repeat(1_100_000)), "more than 1000000 values");
    refused("#".repeat(17 << 20), "larger than 16 MiB");
}

#[test]
fn long_lines_and_texts_are_taken() {
    for word in ["a", "漢", "\\t"] {
        let text = SERVICE.to_owned() + "x-a: \"" + &word.repeat(10_000_000 / word.len()) + "\"\n";
        let Ok(loaded) = read(text) else { panic!("refused") };
        assert!(loaded.to_yaml().unwrap().len() > 5_000_000);
    }
    let block = SERVICE.to_owned() + "x-a: |\n" + &lines(100_000, |line| format!("  line {line}"));
    assert!(read(block).is_ok());
}

#[test]
fn rubbish_is_refused() {
    refused(SERVICE.to_owned() + &"\0".repeat(100_000), "unprintable character U+0000");
    refused("\0".repeat(100_000), "unprintable character U+0000");
    refused("\u{7f}ELF\u{2}\u{1}".to_owned(), "");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    for length in [1, 10, 100, 1_000, 1_000_000] {
        let bytes: Vec<u8> = (0..length).map(|_| byte()).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!read(text).map(|_| String::new()).unwrap_or_else(|error| error.render(true)).is_empty());
    }
}

#[test]
fn time_grows_with_length() {
    grows_with_length(|count| {
        "services:\n".to_owned()
            + &lines(count / 5, |n| {
                format!(
                    "  s{n}:\n    x-rootfs: host\n    command: [sleep, \"{n}\"]\n    environment:\n      A: b"
                )
            })
    });
    grows_with_length(|count| {
        SERVICE.to_owned() + "    environment:\n" + &lines(count, |n| format!("      - K{n}=v"))
    });
    grows_with_length(|count| SERVICE.to_owned() + "x-a: |\n" + &lines(count, |n| format!("  line {n}")));
    grows_with_length(|count| SERVICE.to_owned() + "x-a: [" + &"[a, 漢], ".repeat(count) + "]\n");
    grows_with_length(|count| {
        SERVICE.to_owned() + "x-a: &a [b]\nx-b:\n" + &lines(count, |_| "  - *a".to_owned())
    });
}

#[test]
fn a_pipe_that_nobody_writes_to_is_empty_and_one_that_somebody_does_is_read() {
    let folder = std::env::temp_dir().join(format!("compose-pipe-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("compose.yaml");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let read = |path: PathBuf| load(&LoadOptions { files: vec![path], ..LoadOptions::default() });
    let error = read(path).unwrap_err().render(false);
    assert!(error.contains("empty"), "{error}");
    // As `-f <(program)` names it.
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, SERVICE.as_bytes()).unwrap();
    drop(writer);
    let number = std::os::fd::AsRawFd::as_raw_fd(&reader);
    assert!(read(PathBuf::from(format!("/proc/self/fd/{number}"))).is_ok());
    std::fs::remove_dir_all(folder).unwrap();
}

/// What is not defined is looked for among all there is.
#[test]
fn checks_of_many_names_grow_with_the_file() {
    let undefined = |index| format!("  s{index}: {{image: x, depends_on: [t{index}], networks: [n{index}]}}");
    grows_with_length(|count| "services:\n".to_owned() + &lines(count, undefined));
}

/// What a service extends is looked for in the same way, once for all that will be shown.
#[test]
fn wrong_names_are_held_against_a_bounded_number_of_others() {
    grows_with_length(|count| {
        let extends = |index| format!("  service{index}: {{extends: nothing{index}}}");
        "services:\n".to_owned() + &lines(count, extends)
    });
    grows_with_length(|count| {
        let volumes = lines(count, |index| format!("  volume{index}: {{}}"));
        let mounts = lines(count, |index| format!("      - volume{index}x:/t{index}"));
        format!("{SERVICE}    volumes:\n{mounts}volumes:\n{volumes}")
    });
    // Of a normal file all are looked at.
    let services = lines(2_000, |index| format!("  s{index}: {{x-rootfs: host, command: a}}"));
    let text =
        format!("{SERVICE}    links: [database]\n{services}  databse: {{x-rootfs: host, command: a}}\n");
    let found = read(text).map(|_| String::new()).unwrap_or_else(|error| error.render(false));
    assert!(found.contains("did you mean `databse`?"), "{found}");
}

/// Subnets that must not overlap; services that are needed in two ways.
#[test]
fn checks_of_many_entries_grow_with_the_file() {
    let subnet = |index: usize| {
        format!("  n{index}: {{ipam: {{config: [{{subnet: 10.{}.{}.0/24}}]}}}}", index / 256, index % 256)
    };
    let needed = |index| format!("      s{index}: {{condition: service_started}}");
    grows_with_length_for(Purpose::Run, |count| {
        let needs = lines(count, needed);
        let services =
            format!("{SERVICE}    links: [b]\n    depends_on:\n{needs}  b: {{x-rootfs: host, command: b}}\n");
        services + "networks:\n" + &lines(count, subnet)
    });
}

/// Each tab costs a look at the whole file: only so many are taken.
#[test]
fn tabs_without_end_are_refused() {
    let labels = |count| SERVICE.to_owned() + "    labels:\n" + &lines(count, |n| format!("      l{n}:\tv"));
    assert!(read(labels(100)).is_ok());
    refused(labels(100_000), "a tab cannot follow the `:` of a key");
}

/// Pools of `ipam` over as many others.
#[test]
fn merged_pools_grow_with_the_file() {
    let pool = |index: usize| format!("      - {{subnet: 10.{}.{}.0/24}}", index / 256, index % 256);
    grows_with_length(|count| {
        let network = "networks:\n  n:\n    ipam:\n      config:\n".to_owned() + &lines(count, pool);
        format!("{SERVICE}{network}---\n{network}")
    });
    // Each of those above gets all that the last one below has: that is a product, whoever reckons it.
    let left_free = lines(20_000, |index| format!("          a{index}: 10.0.0.1"));
    let network = format!("networks:\n  n:\n    ipam:\n      config:\n{}", lines(20_000, pool));
    let below = format!("{network}      - subnet: 11.0.0.0/8\n        aux_addresses:\n{left_free}");
    refused(format!("{SERVICE}{below}---\n{network}"), "add up to too much");
}

/// Each document is looked at by itself, not together with all before it.
#[test]
fn many_documents_grow_with_the_file() {
    let document = |what: fn(usize) -> String| {
        move |count: usize| {
            let known = lines(count, |index| format!("      L{index}: v"));
            let others = lines(count / 9, |index| format!("---\n{}", what(index)));
            format!("{SERVICE}    environment:\n{known}{others}")
        }
    };
    grows_with_length(document(|index| format!("services: {{s{index}: {{x-rootfs: host, command: a}}}}")));
    grows_with_length(document(|index| format!("services: {{a: {{environment: {{K{index}: v}}}}}}")));
    grows_with_length(document(|index| format!("services: {{a: {{volumes: ['v:/t{index}']}}}}")));
    grows_with_length(document(|index| format!("services: {{s{index}: }}")));
    // Lists whose items are held against each other are looked at again with each one.
    refused(lines(100_000, |_| "---\n".to_owned() + SERVICE), "more than 2000 documents");
}
