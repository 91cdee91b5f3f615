//! Docker's default capabilities (capabilities(7)).

use caps::{CapSet, Capability, CapsHashSet};

use crate::failure::{Result, StartFailure};

/// What a container's root may do, as in Docker and containerd.
const KEPT: [Capability; 14] = [
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

fn failed(error: &caps::errors::CapsError) -> StartFailure {
    StartFailure::because("limit", "its capabilities", error.to_string())
}

/// What no program started from here can ever gain: everything else.
pub fn limit_bounding() -> Result<()> {
    let possessed = caps::read(None, CapSet::Bounding).map_err(|error| failed(&error))?;
    for capability in possessed.into_iter().filter(|capability| !KEPT.contains(capability)) {
        caps::drop(None, CapSet::Bounding, capability).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// What this process itself has: root what is kept, others nothing (the kernel has taken it when the user changed).
pub fn limit_own(root: bool) -> Result<()> {
    caps::clear(None, CapSet::Ambient).map_err(|error| failed(&error))?;
    caps::clear(None, CapSet::Inheritable).map_err(|error| failed(&error))?;
    if root {
        let possessed = caps::read(None, CapSet::Permitted).map_err(|error| failed(&error))?;
        let kept: CapsHashSet =
            KEPT.into_iter().filter(|capability| possessed.contains(capability)).collect();
        caps::set(None, CapSet::Effective, &kept).map_err(|error| failed(&error))?;
        caps::set(None, CapSet::Permitted, &kept).map_err(|error| failed(&error))?;
    }
    Ok(())
}
