//! The store: values and queues that survive it, over TCP.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use composer_shop::Result;
use composer_shop::journal::{Change, Journal};
use composer_shop::service::{self, log, setting};
use composer_shop::store::{Answer, Request};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[derive(Default)]
struct Contents {
    runs: u64,
    values: BTreeMap<String, Value>,
    queues: HashMap<String, VecDeque<Value>>,
}

impl Contents {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Run => self.runs += 1,
            Change::Set { key, value } => drop(self.values.insert(key, value)),
            Change::Push { queue, value } => self.queues.entry(queue).or_default().push_back(value),
            Change::Done { queue, value } => {
                let queue = self.queues.entry(queue).or_default();
                if let Some(place) = queue.iter().position(|waiting| *waiting == value) {
                    queue.remove(place);
                }
            }
        }
    }
}

struct Shared {
    state: Mutex<(Journal, Contents)>,
    changed: Notify,
}

impl Shared {
    /// Writes a change down and then makes it.
    fn change(&self, change: Change) -> Result<()> {
        let mut state = self.state.lock().map_err(|_| "an earlier change failed half-way")?;
        state.0.write(&change)?;
        // What was taken has left its queue in memory already; on disk it leaves now.
        if !matches!(change, Change::Done { .. }) {
            state.1.apply(change);
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Contents) -> T) -> Result<T> {
        let mut state = self.state.lock().map_err(|_| "an earlier change failed half-way")?;
        Ok(look(&mut state.1))
    }

    /// As soon as there is something to find.
    async fn find(&self, mut look: impl FnMut(&mut Contents) -> Option<Value>) -> Result<Value> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(value) = self.with(&mut look)? {
                return Ok(value);
            }
            changed.await;
        }
    }

    async fn answer(&self, request: Request, taken: &mut Vec<(String, Value)>) -> Result<Value> {
        match request {
            Request::Runs => self.with(|contents| json!(contents.runs)),
            Request::Get { key } => {
                self.with(|contents| contents.values.get(&key).cloned().unwrap_or_default())
            }
            Request::Set { key, value } => self.change(Change::Set { key, value }).map(|()| Value::Null),
            Request::Add { key, by } => {
                let sum = self
                    .with(|contents| contents.values.get(&key).and_then(Value::as_i64).unwrap_or(0))?
                    + by;
                if sum < 0 {
                    return Err(format!("{key} would fall below 0").into());
                }
                self.change(Change::Set { key, value: json!(sum) })?;
                Ok(json!(sum))
            }
            Request::Wait { key } => self.find(|contents| contents.values.get(&key).cloned()).await,
            Request::Push { queue, value } => {
                self.change(Change::Push { queue, value }).map(|()| Value::Null)
            }
            Request::Take { queue } => {
                let value = self.find(|contents| contents.queues.get_mut(&queue)?.pop_front()).await?;
                taken.push((queue, value.clone()));
                Ok(value)
            }
            Request::Done { queue } => {
                let place =
                    taken.iter().position(|(from, _)| *from == queue).ok_or("nothing was taken from it")?;
                let (queue, value) = taken.remove(place);
                self.change(Change::Done { queue, value }).map(|()| Value::Null)
            }
        }
    }

    /// Answers one client until it goes; what it took and did not finish is there again for others.
    async fn attend(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut taken = Vec::new();
        let result = async {
            while let Some(line) = lines.next_line().await? {
                let answer = match serde_json::from_str(&line) {
                    Ok(request) => tokio::select! {
                        answer = self.answer(request, &mut taken) => answer,
                        // It may go while it waits.
                        _ = lines.get_ref().get_ref().readable() => {
                            if lines.get_mut().fill_buf().await?.is_empty() { return Ok(()); }
                            Err("one question at a time".into())
                        }
                    },
                    Err(error) => Err(error.into()),
                };
                let answer = answer.map_or_else(|error| Answer::No(error.to_string()), Answer::Ok);
                let mut line = serde_json::to_vec(&answer)?;
                line.push(b'\n');
                write.write_all(&line).await?;
            }
            Ok(())
        };
        let result = result.await;
        self.with(|contents| {
            for (queue, value) in taken.into_iter().rev() {
                contents.queues.entry(queue).or_default().push_front(value);
            }
        })?;
        self.changed.notify_waiters();
        result
    }
}

async fn serve() -> Result<()> {
    let folder = PathBuf::from(setting("DATA", "/data"));
    let (mut journal, changes) = Journal::open(&folder.join("journal"))?;
    let mut contents = Contents::default();
    changes.into_iter().for_each(|change| contents.apply(change));
    journal.write(&Change::Run)?;
    contents.apply(Change::Run);
    log(format_args!("run {}, {} values", contents.runs, contents.values.len()));
    let shared = Arc::new(Shared { state: Mutex::new((journal, contents)), changed: Notify::new() });
    let listener = TcpListener::bind(format!("0.0.0.0:{}", setting("PORT", "7000"))).await?;
    loop {
        let (stream, from) = listener.accept().await?;
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = shared.attend(stream).await {
                log(format_args!("{from}: {error}"));
            }
        });
    }
}

/// `--health`: whether the store that runs beside this program answers.
async fn probe() -> Result<()> {
    let mut store = composer_shop::store::Store::connect().await?;
    store.ask(&Request::Runs).await.map(drop)
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--health") => service::run(probe()),
        _ => service::run(serve()),
    }
}
