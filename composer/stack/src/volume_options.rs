//! Options of the driver `local` of volumes: what mount(8) is given, which calls the second one `-o`.

use std::collections::BTreeMap;

/// All of them.
pub(crate) const OPTIONS: [&str; 3] = ["type", "o", "device"];

/// What is wrong with an option beside the others, and a way out.
pub(crate) fn wrong(key: &str, value: &str, has: impl Fn(&str) -> bool) -> Option<(String, &'static str)> {
    match key {
        "size" => {
            let message = "the driver `local` gives a volume no size here".to_owned();
            Some((message, "memory has one: `type: tmpfs`, `device: tmpfs`, `o: size=100m`"))
        }
        key if !OPTIONS.contains(&key) => {
            let message = format!("`{key}` is not an option of the driver `local`");
            Some((message, "`type`, `o` and `device` are, as mount(8) has them"))
        }
        "device" if value.is_empty() => {
            Some(("the `device` is empty".to_owned(), "what is mounted: `/FOLDER`"))
        }
        "device" if value.starts_with('.') => {
            let message = format!("the `device` `{value}` is no absolute path");
            Some((message, "`driver: local` beside `o: bind` makes it one, as in Docker Compose"))
        }
        key => {
            let missing = ["type", "device"].into_iter().find(|needed| *needed != key && !has(needed))?;
            let help = "a folder has `type: none`, `o: bind` and `device: /FOLDER`";
            Some((format!("`{key}` needs a `{missing}` beside it"), help))
        }
    }
}

/// What is wrong with options that no file has, and a way out.
pub fn wrong_volume_options(options: &BTreeMap<String, String>) -> Option<String> {
    let mut wrong =
        options.iter().filter_map(|(key, value)| wrong(key, value, |key| options.contains_key(key)));
    wrong.next().map(|(message, help)| format!("{message}: {help}"))
}
