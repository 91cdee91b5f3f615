//! A text that a service's log has to contain before the service counts as healthy.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use memchr::memmem;
use tokio::sync::watch;

use super::Engine;
use super::container::Container;
use crate::diagnose;
use crate::logs::{Reader, Seeker, Writer};
use crate::protocol::Health;

/// How much of a log is read before others have their turn, in bytes.
const TURN: usize = 1 << 20;

impl Engine {
    /// Has the log of a program searched for what its health check seeks in it; what comes back becomes true once that
    /// has come. `fresh` where the program begins in this moment, else with what was known of its health.
    pub(super) fn seek(
        &self,
        container: &Container,
        writer: &RefCell<Writer>,
        fresh: bool,
        known: Option<Health>,
    ) -> io::Result<watch::Receiver<bool>> {
        let found = watch::Sender::new(known == Some(Health::Healthy));
        let said = found.subscribe();
        let record = container.record.borrow();
        let check = record.service.healthcheck.as_ref();
        if let Some(text) = check.and_then(|check| check.test.sought()).filter(|_| !*said.borrow()) {
            writer.borrow_mut().seek(Seeker::new(text, found.clone()), !fresh)?;
            if !fresh {
                let past = Past {
                    folder: container.paths.log().to_owned(),
                    since: container.started().unwrap_or(0),
                    text: text.to_owned(),
                };
                let name = container.name();
                tokio::task::spawn_local(async move {
                    match past.contains().await {
                        Ok(true) => drop(found.send_replace(true)),
                        Ok(false) => {}
                        Err(error) => diagnose(&format!("log of {name}: {error}")),
                    }
                });
            }
        }
        Ok(said)
    }

    /// Returns, with the health so far, once the log has contained the text. The container counts as unhealthy when that
    /// has not happened until `late`: as long as the probes take that a check may fail.
    pub(super) async fn await_text(
        self: &Rc<Self>,
        container: &Rc<Container>,
        text: &str,
        mut said: watch::Receiver<bool>,
        health: Health,
        late: Instant,
    ) -> Health {
        let why = format!("no line of its log has contained {text:?}");
        if !*said.borrow() {
            container.last_probe.replace(why.clone());
        }
        tokio::select! {
            biased;
            () = comes(&mut said) => return health,
            () = tokio::time::sleep_until(late.into()) => {}
        }
        if health == Health::Starting {
            self.set_health(container, Health::Unhealthy, why);
        }
        comes(&mut said).await;
        Health::Unhealthy
    }
}

async fn comes(said: &mut watch::Receiver<bool>) {
    if said.wait_for(|said| *said).await.is_err() {
        // Nobody searches any more: the program has ended, and this task with it.
        std::future::pending().await
    }
}

/// What a program printed under an earlier supervisor.
struct Past {
    folder: PathBuf,
    since: u64,
    text: String,
}

impl Past {
    async fn contains(&self) -> io::Result<bool> {
        let finder = memmem::Finder::new(&self.text);
        let mut reader = Reader::open(&self.folder)?;
        reader.seek(self.since)?;
        let mut lines = Vec::new();
        loop {
            let more = reader.read(TURN, &mut lines)?;
            if !more {
                lines.extend(reader.unfinished());
            }
            if lines.drain(..).any(|line| finder.find(&line.bytes).is_some()) {
                return Ok(true);
            }
            if !more {
                return Ok(false);
            }
            tokio::task::yield_now().await;
        }
    }
}
