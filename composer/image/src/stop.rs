//! Ending work before it is done, so that nothing half-made stays.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, Result};

/// Ends what a [`crate::Store`] is doing. All clones are one.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    asked: watch::Sender<bool>,
    /// How many things are being made.
    making: Mutex<usize>,
    changed: Condvar,
}

/// Something is being made; what is left of it has gone before this is dropped.
#[derive(Debug)]
pub(crate) struct Making(Arc<Shared>);

impl Default for Stop {
    fn default() -> Self {
        let (asked, _) = watch::channel(false);
        Self(Arc::new(Shared { asked, making: Mutex::default(), changed: Condvar::new() }))
    }
}

impl Stop {
    /// Ends downloads in the middle, lets nothing new begin, and returns when nothing half-made is left. Threads that wait
    /// for another process's layer go on waiting: they have made nothing, and end with this process.
    pub fn stop(&self) {
        self.0.asked.send_replace(true);
        let mut making = self.0.making();
        while *making > 0 {
            making = self.0.changed.wait(making).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether work is to end.
    pub fn is_asked(&self) -> bool {
        *self.0.asked.borrow()
    }

    /// Returns when work is to end.
    pub(crate) async fn asked(&self) {
        let mut asked = self.0.asked.subscribe();
        // Fails only when the sender has gone, which this keeps.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    /// Begins to make something.
    pub(crate) fn begin(&self) -> Result<Making> {
        // Under the lock, so that it is counted or refused.
        let mut making = self.0.making();
        if self.is_asked() {
            return Err(Error::Stopped);
        }
        *making += 1;
        Ok(Making(Arc::clone(&self.0)))
    }
}

impl Shared {
    fn making(&self) -> MutexGuard<'_, usize> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        *self.0.making() -= 1;
        self.0.changed.notify_all();
    }
}
