//! `compose ls`: the stacks of this host, read from records and kernel. It starts nothing.

use std::collections::BTreeMap;

use composer_supervisor::host::{self, Summary};
use composer_supervisor::protocol::State;
use serde::Serialize;

use super::context::Context;
use super::{Error, Result, doing};
use crate::options::{ListFormat, Ls};
use crate::render::table;

/// One stack, with Docker Compose's keys.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    name: String,
    status: String,
    config_files: String,
}

/// Lists stacks.
pub fn run(context: &mut Context, verb: &Ls) -> Result {
    let stacks = host::stacks()?;
    let wanted =
        |stack: &Summary| verb.filter.is_empty() || verb.filter.iter().any(|part| matches(&stack.name, part));
    let lines: Vec<Line> =
        stacks.iter().filter(|stack| wanted(stack)).filter_map(|stack| line(stack, verb.all)).collect();
    let text = if verb.quiet {
        lines.iter().map(|line| format!("{}\n", line.name)).collect()
    } else {
        match verb.format {
            ListFormat::Json => serde_json::to_string(&lines).map_err(doing("write JSON"))? + "\n",
            ListFormat::Table => {
                let cells = |line: Line| vec![line.name, line.status, line.config_files];
                let rows: Vec<_> = lines.into_iter().map(cells).collect();
                table::render_wide(&["NAME", "STATUS", "CONFIG FILES"], &rows)
            }
        }
    };
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

/// Docker matches a regular expression; its anchors are what is used of that.
fn matches(name: &str, part: &str) -> bool {
    let (part, begins) = part.strip_prefix('^').map_or((part, false), |part| (part, true));
    let (part, ends) = part.strip_suffix('$').map_or((part, false), |part| (part, true));
    match (begins, ends) {
        (true, true) => name == part,
        (true, false) => name.starts_with(part),
        (false, true) => name.ends_with(part),
        (false, false) => name.contains(part),
    }
}

/// `None` where nothing of it is to be shown.
fn line(stack: &Summary, all: bool) -> Option<Line> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for member in stack.containers.iter().filter(|member| all || member.state.is_live()) {
        *counts.entry(word(member.state)).or_default() += 1;
    }
    if counts.is_empty() {
        return None;
    }
    let status: Vec<String> = counts.iter().map(|(state, count)| format!("{state}({count})")).collect();
    let files: Vec<String> = stack.files.iter().map(|file| file.display().to_string()).collect();
    let config_files = if files.is_empty() { "N/A".to_owned() } else { files.join(",") };
    Some(Line { name: stack.name.clone(), status: status.join(", "), config_files })
}

/// Docker's name of a state.
fn word(state: State) -> &'static str {
    match state {
        State::Created => "created",
        State::Running => "running",
        State::Restarting => "restarting",
        State::Pausing | State::Paused => "paused",
        State::Exited => "exited",
    }
}

#[cfg(test)]
mod tests {
    use composer_supervisor::host::Member;

    use super::*;

    #[test]
    fn names_are_filtered() {
        assert!(
            matches("shop", "ho")
                && matches("shop", "^sh")
                && matches("shop", "op$")
                && matches("shop", "^shop$")
        );
        assert!(!matches("shop", "^ho") && !matches("shop", "sho$") && !matches("shops", "^shop$"));
    }

    #[test]
    fn states_are_counted_in_dockers_order() {
        let member =
            |name: &str, state| Member { name: name.to_owned(), service: "a".to_owned(), index: 1, state };
        let stack = Summary {
            name: "shop".to_owned(),
            files: vec!["/a.yaml".into(), "/b.yaml".into()],
            containers: vec![
                member("a", State::Running),
                member("b", State::Exited),
                member("c", State::Running),
                member("d", State::Paused),
            ],
        };
        let all = line(&stack, true).unwrap();
        assert_eq!(all.status, "exited(1), paused(1), running(2)");
        assert_eq!(
            serde_json::to_string(&line(&stack, false)).unwrap(),
            r#"{"Name":"shop","Status":"paused(1), running(2)","ConfigFiles":"/a.yaml,/b.yaml"}"#
        );
        let ended = Summary { containers: vec![member("b", State::Exited)], ..stack };
        assert_eq!(line(&ended, false), None);
    }
}
