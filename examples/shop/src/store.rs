//! The store's side of its clients: one JSON object a line, one answer a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::Result;

/// What can be asked of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    /// Whether it answers; how often it has been started.
    Runs,
    /// A value, null where there is none.
    Get {
        /// Of which key.
        key: String,
    },
    /// Sets a value.
    Set {
        /// Of which key.
        key: String,
        /// To what.
        value: Value,
    },
    /// Adds to a number, from 0 where there is none; the sum. Refused where it would fall below 0.
    Add {
        /// To which key.
        key: String,
        /// How much.
        by: i64,
    },
    /// A value as soon as there is one.
    Wait {
        /// Of which key.
        key: String,
    },
    /// Puts something at the end of a queue.
    Push {
        /// Of which queue.
        queue: String,
        /// What.
        value: Value,
    },
    /// The first of a queue as soon as there is one. It comes back when this connection ends before `Done`.
    Take {
        /// Of which queue.
        queue: String,
    },
    /// What was taken is dealt with.
    Done {
        /// From which queue.
        queue: String,
    },
}

/// What the store answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It did, and this is the value.
    Ok(Value),
    /// It did not, for this reason.
    No(String),
}

/// A connection to the store.
pub struct Store {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Store {
    /// Connects to the store of `STORE` (`store:7000` where it is not set).
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect() -> Result<Self> {
        let address = crate::service::setting("STORE", "store:7000");
        let stream =
            TcpStream::connect(&address).await.map_err(|error| format!("store at {address}: {error}"))?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Self { read: BufReader::new(read), write })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the store refuses or goes away.
    pub async fn ask(&mut self, request: &Request) -> Result<Value> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.write.write_all(&line).await?;
        let mut answer = String::new();
        if self.read.read_line(&mut answer).await? == 0 {
            return Err("the store went away".into());
        }
        match serde_json::from_str(&answer)? {
            Answer::Ok(value) => Ok(value),
            Answer::No(reason) => Err(reason.into()),
        }
    }

    /// A value, read as its type; `None` where there is none.
    ///
    /// # Errors
    /// Those of [`Store::ask`], and when it is of another type.
    pub async fn get<T: serde::de::DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        let value = self.ask(&Request::Get { key: key.to_owned() }).await?;
        Ok(serde_json::from_value(value)?)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// Those of [`Store::ask`].
    pub async fn set<T: Serialize>(&mut self, key: &str, value: &T) -> Result<()> {
        self.ask(&Request::Set { key: key.to_owned(), value: serde_json::to_value(value)? }).await.map(drop)
    }
}
