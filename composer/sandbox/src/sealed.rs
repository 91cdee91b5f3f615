//! A sealed copy of this program.
//!
//! What runs behind a stack is exec'd from it: nothing inside a container can reach the program on the host's disk
//! through /proc/PID/exe and change it (CVE-2019-5736).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// memfd_create(2): the file may be executed, whatever the system's default (since Linux 6.3).
const EXEC: MFdFlags = MFdFlags::from_bits_retain(0x0010);

/// A descriptor of a copy of this program that nobody can change any more.
///
/// # Errors
/// Those of memfd_create(2) and of reading /proc/self/exe.
pub fn sealed_self() -> io::Result<OwnedFd> {
    let mut program = File::open("/proc/self/exe")?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    if fcntl(&program, FcntlArg::F_GET_SEALS)
        .is_ok_and(|bits| SealFlag::from_bits_retain(bits).contains(seals))
    {
        return Ok(program.into());
    }
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = match memfd_create(c"compose", flags | EXEC) {
        Err(Errno::EINVAL) => memfd_create(c"compose", flags),
        other => other,
    }?;
    let mut copy = File::from(copy);
    io::copy(&mut program, &mut copy)?;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    // Written through one description, executed through another: a program that is open for writing cannot be.
    let sealed = File::open(crate::descriptor::path(&copy))?;
    Ok(sealed.into())
}
