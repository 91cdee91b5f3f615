//! Which extended attributes a layer may set.

/// File capabilities, access control lists, and what programs keep for themselves. Not what is the host's to say:
/// labels and measures of security modules, and `trusted.*`, above all overlayfs's own (`trusted.overlay.redirect` would
/// let a layer show another's folders).
pub(super) fn is_wanted(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
    }
}

/// Whether the file system may be without it: what changes who may do what may not get lost unseen.
pub(super) fn is_optional(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set() {
        for name in ["user.mime_type", "security.capability", "system.posix_acl_access"] {
            assert!(is_wanted(name.as_bytes()), "{name}");
        }
        for name in [
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "trusted.x",
            "user.overlay.opaque",
            "security.selinux",
            "security.ima",
            "system.nfs4_acl",
            "",
        ] {
            assert!(!is_wanted(name.as_bytes()), "{name}");
        }
    }
}
