//! What happens to a stack, on standard error: a block of lines drawn in place, or a line for every event.

mod block;

use std::collections::BTreeSet;
use std::io::IsTerminal;

use composer_stack::LimitChange;
use composer_supervisor::protocol::{Action, Event, Holder, Outcome, Subject};
use serde::Serialize;

use super::Output;
use crate::options::ProgressStyle;
use crate::time;
use block::Block;

/// Shows events.
pub struct Progress {
    stack: String,
    shape: Shape,
    /// What is being stopped: that it has ended is its being stopped.
    stopping: BTreeSet<String>,
    /// Whether nothing has been shown.
    pub is_blank: bool,
}

enum Shape {
    Block(Box<Block>),
    Plain,
    Json,
    Quiet,
}

/// How far something has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Stage {
    Working,
    Done,
    Warning,
    Error,
}

/// An event in words.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// `Container shop-api-1`.
    id: String,
    /// `Started`.
    text: String,
    stage: Stage,
    /// An address, or why it failed.
    details: Option<String>,
}

impl Progress {
    /// For a stack. `block` tells whether nothing else is printed meanwhile, so that lines can be drawn in place.
    pub fn new(style: ProgressStyle, stack: &str, title: &'static str, block: bool, out: &Output) -> Self {
        let in_place = || block && std::io::stderr().is_terminal();
        let shape = match style {
            ProgressStyle::Auto if in_place() && out.color_errors => {
                Shape::Block(Box::new(Block::new(title, true)))
            }
            ProgressStyle::Tty if in_place() => Shape::Block(Box::new(Block::new(title, out.color_errors))),
            ProgressStyle::Auto | ProgressStyle::Tty | ProgressStyle::Plain => Shape::Plain,
            ProgressStyle::Json => Shape::Json,
            ProgressStyle::Quiet => Shape::Quiet,
        };
        Self { stack: stack.to_owned(), shape, stopping: BTreeSet::new(), is_blank: true }
    }

    /// Whether [`Progress::tick`] is to be called now and then.
    pub fn is_animated(&self) -> bool {
        matches!(self.shape, Shape::Block(_))
    }

    /// Draws the times that have passed.
    pub fn tick(&mut self) {
        if let Shape::Block(block) = &mut self.shape {
            block.draw();
        }
    }

    /// Shows an event.
    pub fn event(&mut self, event: &Event, out: &mut Output) {
        let told = tell(&self.stack, event);
        match event.action {
            Action::Stopping => {
                self.stopping.insert(told.id.clone());
            }
            Action::Stopped => {
                self.stopping.remove(&told.id);
            }
            Action::Settled | Action::Restarted | Action::Exec(_) => return,
            Action::Killed { .. } if self.stopping.contains(&told.id) => return,
            Action::Exited { .. } if self.stopping.contains(&told.id) => return,
            Action::Creating
            | Action::Created
            | Action::Starting
            | Action::Started { .. }
            | Action::Running
            | Action::Updated { .. }
            | Action::Pressure { .. }
            | Action::Waiting
            | Action::Healthy
            | Action::Unhealthy { .. }
            | Action::Exited { .. }
            | Action::Restarting { .. }
            | Action::Removing
            | Action::Removed
            | Action::Killed { .. }
            | Action::Paused
            | Action::Unpaused
            | Action::OutOfMemory(_)
            | Action::Warning(_)
            | Action::Failed(_) => {}
        }
        self.is_blank = false;
        match &mut self.shape {
            Shape::Block(block) if told.stage == Stage::Warning => block.warning(&warning(&told)),
            Shape::Block(block) => block.event(told, event.time),
            Shape::Json => out.note(&json(&told)),
            Shape::Plain | Shape::Quiet if told.stage == Stage::Warning => out.warning(&warning(&told)),
            Shape::Plain => out.note(&plain(&told)),
            Shape::Quiet => {}
        }
    }

    /// Where nothing has been shown there was nothing to do, and the user is told so.
    pub fn idle(&mut self, out: &mut Output) {
        match &self.shape {
            Shape::Block(_) | Shape::Plain if self.is_blank => out.note(composer_plan::NOTHING),
            Shape::Block(_) | Shape::Plain | Shape::Json | Shape::Quiet => {}
        }
    }

    /// Tells that another command has the turn.
    pub fn waits(&mut self, holder: &Holder, out: &mut Output) {
        // What this process has given up itself is about to end.
        if holder.pid.cast_unsigned() == std::process::id() {
            return;
        }
        let seconds = time::between(holder.since, time::now()).as_secs();
        let text =
            format!("waiting for \"{}\" (pid {}, begun {seconds} s ago) to end", holder.verb, holder.pid);
        match &mut self.shape {
            Shape::Block(block) => block.note(&format!(" {text}")),
            Shape::Json => {
                let id = format!("Cgroup compose/{}", self.stack);
                let text = Some(text);
                out.note(&json(&Told {
                    id,
                    text: "Waiting".to_owned(),
                    stage: Stage::Working,
                    details: text,
                }));
            }
            Shape::Plain => out.note(&format!(" {text}")),
            Shape::Quiet => {}
        }
    }

    /// Ends the drawing in place: what was drawn last stays.
    pub fn finish(&mut self) {
        if let Shape::Block(block) = &mut self.shape {
            block.finish();
        }
    }
}

fn tell(stack: &str, event: &Event) -> Told {
    let id = match &event.subject {
        Subject::Group => format!("Cgroup compose/{stack}"),
        Subject::Network(name) => format!("Network {name}"),
        Subject::Volume(name) => format!("Volume {name}"),
        Subject::Container { name, .. } | Subject::OneOff { name, .. } => format!("Container {name}"),
    };
    let (text, stage, details) = match &event.action {
        Action::Creating => ("Creating", Stage::Working, None),
        Action::Created => ("Created", Stage::Done, None),
        Action::Starting => ("Starting", Stage::Working, None),
        Action::Started { address } => ("Started", Stage::Done, address.map(|address| address.to_string())),
        Action::Running => ("Running", Stage::Done, None),
        Action::Updated { limits } => ("Updated", Stage::Done, changed(limits)),
        Action::Pressure { of, share, details } => {
            let who = if event.subject == Subject::Group { "the stack" } else { "it" };
            let details = details.as_ref().map(|details| format!(": {details}")).unwrap_or_default();
            ("Pressure", Stage::Warning, Some(format!("{who} is {}{details}", short(of, *share))))
        }
        Action::Restarted => ("Restarted", Stage::Done, None),
        Action::Waiting => ("Waiting", Stage::Working, None),
        Action::Healthy => ("Healthy", Stage::Done, None),
        Action::Unhealthy { output } => ("Unhealthy", Stage::Error, first_line(output)),
        Action::Stopping => ("Stopping", Stage::Working, None),
        Action::Stopped => ("Stopped", Stage::Done, None),
        Action::Exited { code: Some(0) } => ("Exited", Stage::Done, None),
        Action::Exited { code } => (
            "Exited",
            Stage::Error,
            Some(code.map_or("code unknown".to_owned(), |code| format!("code {code}"))),
        ),
        Action::Restarting { code, restarts, .. } => {
            let code = code.map_or("code unknown".to_owned(), |code| format!("code {code}"));
            ("Restarting", Stage::Working, Some(format!("{code}, restart {restarts}")))
        }
        Action::Removing => ("Removing", Stage::Working, None),
        Action::Removed => ("Removed", Stage::Done, None),
        Action::Killed { .. } => ("Killed", Stage::Done, None),
        Action::Paused => ("Paused", Stage::Done, None),
        Action::Unpaused => ("Unpaused", Stage::Done, None),
        Action::OutOfMemory(told) => {
            let (word, stage) = match told.outcome {
                Outcome::Killed => ("Out of memory", Stage::Error),
                Outcome::Pausing => ("Pausing", Stage::Working),
                Outcome::Paused => ("Paused", Stage::Error),
                Outcome::Raised { .. } => ("Raised", Stage::Done),
                Outcome::HookFailed => ("Hook failed", Stage::Error),
            };
            (word, stage, Some(told.text.clone()))
        }
        Action::Exec(_) => ("Exec", Stage::Done, None),
        Action::Settled => ("Settled", Stage::Done, None),
        Action::Warning(text) => ("Warning", Stage::Warning, Some(text.clone())),
        Action::Failed(why) => ("Error", Stage::Error, first_line(why)),
    };
    // Some are what programs of the services have printed.
    let details = details.map(|details| super::plain::plain(&details).into_owned());
    Told { id, text: text.to_owned(), stage, details }
}

/// `mem_limit 64 MiB -> 128 MiB`; nothing where no limit has changed.
fn changed(limits: &[LimitChange]) -> Option<String> {
    let words = limits.iter().map(|change| format!("{} {} -> {}", change.limit, change.from, change.to));
    Some(words.collect::<Vec<_>>().join(", ")).filter(|words| !words.is_empty())
}

/// `short of memory for 12% of the last 10 s`.
fn short(of: &str, share: Option<u32>) -> String {
    let share = share.map(|share| format!(" for {share}% of the last 10 s"));
    format!("short of {of}{}", share.unwrap_or_default())
}

fn first_line(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// ` Container shop-api-1  Started  172.18.0.2`, as Docker Compose writes it where there is no terminal.
fn plain(told: &Told) -> String {
    let details = told.details.as_ref().map(|details| format!("  {details}")).unwrap_or_default();
    format!(" {}  {}{details}", told.id, told.text)
}

fn warning(told: &Told) -> String {
    let text = told.details.as_deref().unwrap_or_default();
    match told.id.strip_prefix("Container ") {
        Some(container) if !text.contains(container) => format!("{container}: {text}"),
        _ => text.to_owned(),
    }
}

/// One object a line, with Docker Compose's keys.
fn json(told: &Told) -> String {
    let object = serde_json::json!({
        "id": told.id,
        "status": told.stage,
        "text": told.text,
        "details": told.details,
    });
    object.to_string()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn of_api(action: Action) -> Told {
        let subject = Subject::Container { name: "shop-api-1".to_owned(), service: "api".to_owned() };
        tell("shop", &Event { time: 0, subject, action })
    }

    #[test]
    fn events_are_told_in_dockers_words() {
        let started = of_api(Action::Started { address: Some(Ipv4Addr::new(172, 18, 0, 2).into()) });
        assert_eq!(plain(&started), " Container shop-api-1  Started  172.18.0.2");
        assert_eq!(plain(&of_api(Action::Exited { code: Some(3) })), " Container shop-api-1  Exited  code 3");
        assert_eq!(
            json(&of_api(Action::Creating)),
            r#"{"details":null,"id":"Container shop-api-1","status":"Working","text":"Creating"}"#
        );
    }

    #[test]
    fn warnings_name_their_container_once() {
        assert_eq!(
            warning(&of_api(Action::Warning("a limit is off".to_owned()))),
            "shop-api-1: a limit is off"
        );
        assert_eq!(warning(&of_api(Action::Warning("shop-api-1 is odd".to_owned()))), "shop-api-1 is odd");
    }
}
