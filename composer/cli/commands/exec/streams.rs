//! Standard streams of a program that gets no terminal.
//!
//! It is given pipes and we copy, so that nothing of the host's comes into the container: through a folder it could
//! leave it, a file it could open anew for writing, and our terminal it could go on reading. Pipes that are the
//! caller's already are handed on as they are, and /dev/null, which the container replaces by its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::fs::{FileType, OFlags, fcntl_setfl, fstat, fstatfs, major, minor};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// PIPEFS_MAGIC of linux/magic.h: a pipe without a name.
const PIPEFS: i64 = 0x5049_5045;
/// The device number of /dev/null (devices.txt of the kernel).
const NULL: (u32, u32) = (1, 3);

/// What the program gets, and what we copy.
pub struct Streams {
    theirs: Vec<OwnedFd>,
    /// Where our standard input goes.
    input: Option<OwnedFd>,
    outputs: Vec<Copied>,
}

/// One of the program's outputs.
struct Copied {
    from: OwnedFd,
    to: OwnedFd,
}

/// The program's standard input, and where ours is to flow where that is another.
pub fn input() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let stdin = io::stdin();
    if is_harmless(stdin.as_fd())? {
        return Ok((stdin.as_fd().try_clone_to_owned()?, None));
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((read, Some(write)))
}

/// Lets our input flow to the program.
pub fn flow(to: OwnedFd) {
    // A thread inherits what is blocked: signals are the main thread's, which takes them later. Neither call fails for
    // a set like these.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    // Ends with our input, with the program's interest in it, or with this process: nobody waits for it.
    std::thread::spawn(move || io::copy(&mut io::stdin(), &mut File::from(to)));
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
}

impl Streams {
    /// Looks at our own streams.
    pub fn new() -> io::Result<Self> {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let (theirs, input) = input()?;
        let mut streams = Self { theirs: vec![theirs], input, outputs: Vec::new() };
        for own in [stdout.as_fd(), stderr.as_fd()] {
            if is_harmless(own)? {
                streams.theirs.push(own.try_clone_to_owned()?);
                continue;
            }
            let (from, write) = pipe_with(PipeFlags::CLOEXEC)?;
            fcntl_setfl(&from, OFlags::NONBLOCK)?;
            streams.theirs.push(write);
            streams.outputs.push(Copied { from, to: own.try_clone_to_owned()? });
        }
        Ok(streams)
    }

    /// What the program gets.
    pub fn theirs(&self) -> Vec<BorrowedFd<'_>> {
        self.theirs.iter().map(AsFd::as_fd).collect()
    }

    /// The program has what is its own: its ends are closed here, and our input begins to flow.
    pub fn begin(&mut self) {
        self.theirs.clear();
        if let Some(to) = self.input.take() {
            flow(to);
        }
    }

    /// The outputs that are still open, to be waited for.
    pub fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().map(|copied| copied.from.as_fd())
    }

    /// Copies what has been written by now. An output whose reader has gone is closed, so that the program learns it.
    pub fn copy(&mut self) -> io::Result<()> {
        let mut failed = None;
        self.outputs.retain(|copied| match copied.copy() {
            Ok(is_open) => is_open,
            Err(Errno::PIPE) => false,
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Copied {
    /// Whether there may be more later.
    fn copy(&self) -> rustix::io::Result<bool> {
        let mut buffer = [0; 1 << 16];
        loop {
            match rustix::io::read(&self.from, &mut buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => self.write(&buffer[..length])?,
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&self, mut bytes: &[u8]) -> rustix::io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.to, bytes) {
                Ok(length) => bytes = &bytes[length..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// An anonymous pipe, or /dev/null.
fn is_harmless(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = fstat(fd)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => fstatfs(fd)?.f_type == PIPEFS,
        FileType::CharacterDevice => (major(stat.st_rdev), minor(stat.st_rdev)) == NULL,
        _ => false,
    })
}
