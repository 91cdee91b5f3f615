//! The kernel's word that a group is short of memory: a trigger of PSI on v2 (accounting/psi.rst), `memory.pressure_level`
//! on v1 (cgroup-v1/memory.rst).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::hierarchy::{Layout, Root};
use crate::meter::{Pressure, stalls};
use crate::{Controller, Error, control};

const PRESSURE: &str = "memory.pressure";
/// Tasks have waited for memory a fifth of two seconds: in microseconds.
const TRIGGER: &str = "some 400000 2000000";

/// Wakes whoever waits when a group, or one inside it, is short of memory; and when it has been removed.
#[derive(Debug)]
pub struct PressureWatch {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The file that holds the trigger.
    Trigger(File),
    /// What is signalled, and the file that it is about.
    Level(EventFd, #[expect(dead_code, reason = "kept open")] File),
}

impl PressureWatch {
    /// Whether it wakes by a condition that is urgent (POLLPRI), and not by one that can be read.
    pub fn is_urgent(&self) -> bool {
        match self.kind {
            Kind::Trigger(_) => true,
            Kind::Level(..) => false,
        }
    }

    /// Takes what has woken, so that it wakes again.
    pub fn take(&self) {
        if let Kind::Level(event, _) = &self.kind {
            // Nothing to take is fine: it does not block.
            let _ = event.read();
        }
    }
}

impl AsFd for PressureWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Trigger(file) => file.as_fd(),
            Kind::Level(event, _) => event.as_fd(),
        }
    }
}

/// `None` where this kernel does not tell.
pub(crate) fn watch(layout: &Layout, path: &str) -> Result<Option<PressureWatch>, Error> {
    let has_memory = |root: &&Root| root.has(Controller::Memory);
    if let Some(root) = layout.v1.iter().find(has_memory) {
        let directory = root.group(path);
        let level = directory.join("memory.pressure_level");
        // Nothing can be read from it; whoever opens it may.
        let Ok(file) = File::open(&level) else { return Ok(None) };
        let made = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let event = made.map_err(|errno| Error::Open { path: level, source: errno.into() })?;
        let request = format!("{} {} medium", event.as_fd().as_raw_fd(), file.as_raw_fd());
        control::write(&directory.join("cgroup.event_control"), &request)?;
        return Ok(Some(PressureWatch { kind: Kind::Level(event, file) }));
    }
    let Some(root) = layout.v2.as_ref().filter(has_memory) else { return Ok(None) };
    let path = root.group(path).join(PRESSURE);
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(&path) else { return Ok(None) };
    // A kernel with PSI off has the file all the same.
    if file.read(&mut [0; 16]).is_err() {
        return Ok(None);
    }
    file.write_all(TRIGGER.as_bytes()).map_err(|source| Error::Write {
        path,
        value: TRIGGER.to_owned(),
        source,
    })?;
    Ok(Some(PressureWatch { kind: Kind::Trigger(file) }))
}

/// How long tasks of a group have waited for memory; `None` where this kernel does not tell.
pub(crate) fn of_memory(layout: &Layout, path: &str) -> Result<Option<Pressure>, Error> {
    let root = layout.v2.as_ref().filter(|root| root.has(Controller::Memory));
    let Some(root) = root else { return Ok(None) };
    match control::read_if_there(&root.group(path).join(PRESSURE)) {
        Ok(text) => Ok(text.map(|text| stalls(&text))),
        // A kernel with PSI off has the file all the same.
        Err(Error::Read { source, .. }) if source.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
