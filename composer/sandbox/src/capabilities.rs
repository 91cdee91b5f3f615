//! Capabilities of a container (capabilities(7)).

use std::collections::BTreeSet;

use caps::{CapSet, Capability, CapsHashSet};

use crate::confinement::Confinement;
use crate::failure::{Result, StartFailure};

/// What a container's root may do where nothing else is asked, as in Docker and containerd.
const DEFAULT: [Capability; 14] = [
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

/// All of them.
const ALL: &str = "ALL";

/// The capabilities that a container's root has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(CapsHashSet);

impl Wanted {
    /// Docker's reckoning (moby, `oci/caps`): what is added counts for more than what is dropped, unless all are added.
    pub fn of(confinement: &Confinement) -> Self {
        let (added, dropped) = (&confinement.cap_add, &confinement.cap_drop);
        let names = |list: &[String], wanted: &str| {
            list.iter().any(|name| name == wanted || wanted.strip_prefix("CAP_") == Some(name))
        };
        let is_added = |capability: &Capability| names(added, &capability.to_string());
        let is_dropped = |capability: &Capability| names(dropped, &capability.to_string());
        let kept = |capability: &Capability| {
            if confinement.privileged {
                true
            } else if names(added, ALL) {
                !is_dropped(capability)
            } else if names(dropped, ALL) {
                is_added(capability)
            } else {
                is_added(capability) || (DEFAULT.contains(capability) && !is_dropped(capability))
            }
        };
        Self(caps::all().into_iter().filter(kept).collect())
    }

    /// Their names, as `CAP_CHOWN`.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// What no program started from here can ever gain: everything else.
    pub fn limit_bounding(&self) -> Result<()> {
        let possessed = caps::read(None, CapSet::Bounding).map_err(|error| failed(&error))?;
        for capability in possessed.difference(&self.0) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// What this process itself has: root what is kept, others nothing (the kernel has taken it when the user changed).
    pub fn limit_own(&self, root: bool) -> Result<()> {
        caps::clear(None, CapSet::Ambient).map_err(|error| failed(&error))?;
        caps::clear(None, CapSet::Inheritable).map_err(|error| failed(&error))?;
        if root {
            let possessed = caps::read(None, CapSet::Permitted).map_err(|error| failed(&error))?;
            let kept: CapsHashSet = self.0.intersection(&possessed).copied().collect();
            caps::set(None, CapSet::Effective, &kept).map_err(|error| failed(&error))?;
            caps::set(None, CapSet::Permitted, &kept).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

fn failed(error: &caps::errors::CapsError) -> StartFailure {
    StartFailure::because("limit", "its capabilities", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(added: &[&str], dropped: &[&str]) -> Wanted {
        let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let confinement =
            Confinement { cap_add: texts(added), cap_drop: texts(dropped), ..Confinement::default() };
        Wanted::of(&confinement)
    }

    #[test]
    fn as_docker_reckons() {
        let has = |wanted: &Wanted, name: &str| wanted.names().contains(name);
        assert_eq!(wanted(&[], &[]).names().len(), 14);
        let admin = wanted(&["NET_ADMIN"], &["MKNOD"]);
        assert!(has(&admin, "CAP_NET_ADMIN") && !has(&admin, "CAP_MKNOD") && has(&admin, "CAP_CHOWN"));
        assert_eq!(wanted(&["CHOWN"], &["ALL"]).names(), BTreeSet::from(["CAP_CHOWN".to_owned()]));
        assert_eq!(wanted(&[], &["ALL"]).names(), BTreeSet::new());
        let all = wanted(&["ALL"], &["SYS_ADMIN"]);
        assert!(!has(&all, "CAP_SYS_ADMIN") && has(&all, "CAP_BPF"));
        // What is added comes after what is dropped.
        assert!(has(&wanted(&["SYS_TIME"], &["SYS_TIME"]), "CAP_SYS_TIME"));
        let privileged =
            Confinement { privileged: true, cap_drop: vec!["ALL".to_owned()], ..Confinement::default() };
        assert_eq!(Wanted::of(&privileged).names().len(), caps::all().len());
    }
}
