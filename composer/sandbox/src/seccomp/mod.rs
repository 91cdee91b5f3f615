//! The system calls of a container (seccomp(2)): an allow-list, Docker's default profile unless the user has another.
//!
//! Later calls than those a profile knows do not exist (ENOSYS), as with runc; so it is with the calls of x32. A call
//! of an instruction set that is not in the profile ends the process.
#![allow(unsafe_code)]

mod calls;
mod compile;
mod policy;
mod profile;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::LazyLock;

use compile::Instruction;
use policy::Policy;

use crate::capabilities;
use crate::confinement::{Confinement, SeccompProfile};
use crate::failure::{Doing, Result, StartFailure};

/// The filter of a container with the default capabilities.
static FILTER: LazyLock<Vec<Instruction>> = LazyLock::new(|| {
    let kept = capabilities::Wanted::of(&Confinement::default()).names();
    compile::compile(&Policy::default(&kept))
});

/// Writes the default filter, so that children of this process find it written.
pub fn warm_up() {
    LazyLock::force(&FILTER);
}

/// Puts this thread, and every program it will run, under the filter that is asked for. Needs CAP_SYS_ADMIN, or that no
/// privileges can be gained any more.
///
/// `seccomp(2)` is called without the `no_new_privs` of libraries, under which setuid programs are ordinary ones.
pub fn install(confinement: &Confinement, capabilities: &BTreeSet<String>) -> Result<()> {
    match &confinement.seccomp {
        SeccompProfile::Default if confinement.has_default_capabilities() && !confinement.fixed_project => {
            apply(&FILTER)
        }
        SeccompProfile::Default => {
            let mut policy = Policy::default(capabilities);
            if confinement.fixed_project {
                policy.fix_project();
            }
            apply(&compile::compile(&policy))
        }
        SeccompProfile::Unconfined => Ok(()),
        SeccompProfile::Custom(text) => {
            let policy = profile::read(text, capabilities)
                .map_err(|why| StartFailure::because("read", "its seccomp profile", why))?;
            apply(&compile::compile(&policy))
        }
    }
}

fn apply(filter: &[Instruction]) -> Result<()> {
    if filter.len() > compile::MOST {
        let why = format!("the kernel takes no filter of {} instructions", filter.len());
        return Err(StartFailure::because("limit", "its system calls", why));
    }
    let program = libc::sock_fprog {
        // No longer than MOST.
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads `len` instructions, which `filter` holds in the layout of its `struct sock_filter`,
    // and keeps a copy; nothing is written. The flag leaves the processor's speculation as it is, as runc does;
    // before Linux 5.16 a filter would slow it down.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).doing("limit", "its system calls") }
}
