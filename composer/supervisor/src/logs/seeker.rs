//! Looks for a text in what a program prints, in bounded memory, whatever pieces it comes in.

use memchr::memmem::Finder;
use tokio::sync::watch;

/// Looks for a text that has no newline, so that where it is found it is within a line.
pub struct Seeker {
    finder: Finder<'static>,
    /// The end of what has come on each stream: the text may begin in it.
    tails: [Vec<u8>; 2],
    found: watch::Sender<bool>,
}

impl Seeker {
    /// Looks for this text; `found` becomes true once it has come.
    pub fn new(text: &str, found: watch::Sender<bool>) -> Self {
        Self { finder: Finder::new(text).into_owned(), tails: [Vec::new(), Vec::new()], found }
    }

    /// How much of the end of what has come it needs to see.
    pub fn overlap(&self) -> usize {
        self.finder.needle().len().saturating_sub(1)
    }

    /// Looks at what has come next on a stream; whether that was it.
    pub fn look(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let overlap = self.overlap();
        let tail = &mut self.tails[slot];
        // Where the text lies across the border it ends among the first bytes.
        let border = bytes.len().min(overlap);
        tail.extend_from_slice(&bytes[..border]);
        let found = self.finder.find(tail).is_some() || self.finder.find(bytes).is_some();
        tail.extend_from_slice(&bytes[bytes.len().saturating_sub(overlap).max(border)..]);
        tail.drain(..tail.len().saturating_sub(overlap));
        if found {
            self.found.send_replace(true);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str, pieces: &[&str]) -> bool {
        let found = watch::Sender::new(false);
        let mut seeker = Seeker::new(text, found.clone());
        for piece in pieces {
            seeker.look(0, piece.as_bytes());
            assert!(seeker.tails[0].len() < text.len());
        }
        *found.borrow()
    }

    #[test]
    fn a_text_is_found_in_whatever_pieces_it_comes() {
        let line = "the server is ready to accept connections\n";
        for size in 1..line.len() {
            let pieces: Vec<&str> =
                (0..line.len()).step_by(size).map(|from| &line[from..line.len().min(from + size)]).collect();
            assert!(finds("ready to accept", &pieces), "in pieces of {size}");
            assert!(finds("\u{74}", &pieces) && finds("connections", &pieces), "in pieces of {size}");
            assert!(!finds("ready to refuse", &pieces), "in pieces of {size}");
        }
    }

    #[test]
    fn a_text_is_not_put_together_from_two_streams_or_from_what_did_not_follow() {
        let found = watch::Sender::new(false);
        let mut seeker = Seeker::new("ready", found.clone());
        seeker.look(0, b"rea");
        seeker.look(1, b"dy");
        seeker.look(0, b" or not: rea");
        seeker.look(0, b"");
        assert!(!*found.borrow());
        assert!(seeker.look(0, b"dy"));
    }
}
