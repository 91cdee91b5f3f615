//! What a child tells on its way to exec: one message a packet, and silence when its program runs.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

use crate::descriptor;
use crate::failure::StartFailure;

/// Longer than any failure: two paths and a sentence.
const LONGEST: usize = 16 << 10;

/// What was told.
#[derive(Debug)]
pub enum ReportMessage {
    /// The master of the program's terminal.
    Terminal(OwnedFd),
    /// It will not run.
    Failed(StartFailure),
    /// It has been exec'd: the socket has closed.
    Started,
}

#[derive(Serialize, Deserialize)]
enum Wire {
    Terminal,
    Failed(StartFailure),
}

/// Reads one message.
///
/// # Errors
/// Those of recvmsg(2), EAGAIN where the socket does not block; `InvalidData` for what no child of ours has sent.
pub fn read_report(report: BorrowedFd<'_>) -> io::Result<ReportMessage> {
    let mut buffer = vec![0; LONGEST];
    let mut control = cmsg_space!(RawFd);
    let (length, fd) = {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received =
            recvmsg::<()>(report.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let fd = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        (received.bytes, fd.map(descriptor::received))
    };
    if length == 0 {
        return Ok(ReportMessage::Started);
    }
    let message = serde_json::from_slice(&buffer[..length]).map_err(io::Error::from)?;
    match (message, fd) {
        (Wire::Failed(failure), _) => Ok(ReportMessage::Failed(failure)),
        (Wire::Terminal, Some(master)) => Ok(ReportMessage::Terminal(master)),
        (Wire::Terminal, None) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a terminal came without a descriptor"))
        }
    }
}

/// Tells of a failure. Where even that fails nobody listens any more.
pub fn failed(report: BorrowedFd<'_>, failure: StartFailure) {
    let _ = send(report, &Wire::Failed(failure), &[]);
}

/// Hands over a terminal's master.
pub fn terminal(report: BorrowedFd<'_>, master: &OwnedFd) -> io::Result<()> {
    send(report, &Wire::Terminal, &[master.as_raw_fd()])
}

fn send(report: BorrowedFd<'_>, message: &Wire, fds: &[RawFd]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(report.as_raw_fd(), &[IoSlice::new(&text)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    #[test]
    fn failures_and_terminals_arrive_and_the_end_means_started() {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let failure = StartFailure::because("mount", "/proc", "no");
        failed(theirs.as_fd(), failure.clone());
        terminal(theirs.as_fd(), &std::fs::File::open("/dev/null").unwrap().into()).unwrap();
        drop(theirs);
        assert!(matches!(read_report(ours.as_fd()).unwrap(), ReportMessage::Failed(read) if read == failure));
        assert!(matches!(read_report(ours.as_fd()).unwrap(), ReportMessage::Terminal(_)));
        assert!(matches!(read_report(ours.as_fd()).unwrap(), ReportMessage::Started));
    }
}
