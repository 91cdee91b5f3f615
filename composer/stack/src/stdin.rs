//! Standard input, for a Compose file named `-`: read when one is met, for nothing else knows whether one will be.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::read;

/// A text that is read once, when somebody asks for it. Its clones share it.
#[derive(Clone)]
pub struct Stdin(Arc<Mutex<State>>);

enum State {
    Unread(Box<dyn Read + Send>),
    Read(Result<String, String>),
}

impl Stdin {
    /// What `reader` will give.
    pub fn new(reader: impl Read + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(State::Unread(Box::new(reader)))))
    }

    /// The whole text.
    ///
    /// # Errors
    /// When it cannot be read, now or when it was asked for before.
    pub(crate) fn text(&self) -> io::Result<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match &mut *state {
            State::Unread(reader) => read::bounded(reader).map_err(|error| error.to_string()),
            State::Read(text) => return text.clone().map_err(io::Error::other),
        };
        *state = State::Read(text.clone());
        text.map_err(io::Error::other)
    }
}

impl From<String> for Stdin {
    fn from(text: String) -> Self {
        Self::new(io::Cursor::new(text))
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stdin")
    }
}
