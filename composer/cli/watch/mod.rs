//! `develop.watch`: sees files change and does what the file says of it, on a thread of its own.

mod act;
mod rule;
mod tree;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use composer_stack::{Stack, TriggerAction};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use act::Actor;
use rule::Rule;
use tree::Tree;

/// Programs that save many files at once have this long between two of them.
const QUIET: Duration = Duration::from_millis(100);

/// What the thread tells.
#[derive(Debug)]
pub enum Note {
    /// Something was done.
    Done(String),
    /// Something could not be done; watching goes on.
    Warning(String),
    /// Watching has ended.
    Failed(String),
}

/// Files under watch, until it is dropped.
pub struct Watcher {
    notes: Receiver<Note>,
    /// A byte comes for each note.
    wake: File,
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch what these services (all where none is named) want watched. `Err` says what is wrong with
    /// what they want.
    pub fn start(stack: &Stack, services: &[String]) -> Result<Self, String> {
        let rules = rules(stack, services)?;
        let text = |error: io::Error| format!("watch files: {error}");
        let mut tree = Tree::new().map_err(text)?;
        for rule in &rules {
            tree.add(rule.path(), &|path| rule.prunes(path)).map_err(text)?;
        }
        let (wake, bell) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| text(errno.into()))?;
        let (ended, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| text(errno.into()))?;
        let (sender, notes) = channel();
        let speaker = Speaker { sender, bell: bell.into() };
        let actor = Actor::new(&stack.name, ended);
        let thread = thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn(move || run(&mut tree, &rules, &actor, speaker)).map_err(text)?;
        Ok(Self { notes, wake: wake.into(), stop: Some(stop), thread: Some(thread) })
    }

    /// The next note; to be asked for when [`Watcher::as_fd`] is readable.
    pub fn note(&mut self) -> Option<Note> {
        let _ = self.wake.read(&mut [0]);
        self.notes.try_recv().ok()
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It has told what there was to tell.
            let _ = thread.join();
        }
    }
}

struct Speaker {
    sender: Sender<Note>,
    bell: File,
}

impl Speaker {
    /// Fails where nobody listens any more.
    fn say(&mut self, note: Note) -> io::Result<()> {
        self.sender.send(note).map_err(io::Error::other)?;
        self.bell.write_all(b"!")
    }
}

/// What is wrong with what these services want watched.
pub fn check(stack: &Stack, services: &[String]) -> Result<(), String> {
    rules(stack, services).map(drop)
}

/// What is watched, or why it cannot be.
fn rules(stack: &Stack, services: &[String]) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    let chosen = |name: &String| services.is_empty() || services.contains(name);
    for service in stack.services.values().filter(|service| chosen(&service.name)) {
        for trigger in &service.watch {
            if trigger.action == TriggerAction::Rebuild {
                return Err(format!(
                    "service {}: `action: rebuild` of {} is not supported yet: images cannot be built",
                    service.name,
                    trigger.path.display()
                ));
            }
            rules.push(Rule::new(service, trigger)?);
        }
    }
    if rules.is_empty() {
        return Err(
            "none of the selected services is configured for watch: give one a `develop.watch` section"
                .to_owned(),
        );
    }
    Ok(rules)
}

fn run(tree: &mut Tree, rules: &[Rule], actor: &Actor, mut speaker: Speaker) {
    let result = watch(tree, rules, actor, &mut speaker);
    if let Err(error) = result {
        // Nobody listening is how this ends, too.
        let _ = speaker.say(Note::Failed(format!("watching has ended: {error}")));
    }
}

fn watch(tree: &mut Tree, rules: &[Rule], actor: &Actor, speaker: &mut Speaker) -> io::Result<()> {
    for rule in rules {
        actor.begin(rule, &mut |note| speaker.say(note))?;
    }
    let prunes = |path: &std::path::Path| rules.iter().all(|rule| rule.prunes(path));
    let mut changed: BTreeSet<PathBuf> = BTreeSet::new();
    loop {
        let limit = (!changed.is_empty()).then_some(QUIET);
        let (something, over) = wait(tree.as_fd(), actor.ended(), limit)?;
        if over {
            return Ok(());
        }
        if something {
            changed.extend(tree.changes(&prunes)?);
            continue;
        }
        let changed = std::mem::take(&mut changed);
        for rule in rules {
            let matching: Vec<PathBuf> = changed.iter().filter(|path| rule.matches(path)).cloned().collect();
            if !matching.is_empty() {
                actor.act(rule, &matching, &mut |note| speaker.say(note))?;
            }
        }
    }
}

/// Whether something has come, of files as of an answer, and whether this is over; neither where the time has passed.
fn wait(source: BorrowedFd<'_>, ended: BorrowedFd<'_>, limit: Option<Duration>) -> io::Result<(bool, bool)> {
    let mut fds =
        [PollFd::from_borrowed_fd(source, PollFlags::IN), PollFd::from_borrowed_fd(ended, PollFlags::IN)];
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    loop {
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) => return Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty())),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
