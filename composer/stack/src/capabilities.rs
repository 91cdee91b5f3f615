//! Names of capabilities (capabilities(7)).

use crate::suggest::nearest;

/// All that there are, without `CAP_`, and what stands for all of them.
pub(crate) const NAMES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// A capability in capital letters, without `CAP_`.
pub(crate) fn bare(capability: &str) -> String {
    let upper = capability.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

/// The same, of what stands on a command line.
///
/// # Errors
/// What is wrong with it, and what may have been meant.
pub fn capability(text: &str) -> Result<String, String> {
    let name = bare(text);
    if NAMES.contains(&name.as_str()) {
        return Ok(name);
    }
    let meant = nearest(&name, NAMES).map(|known| format!(": did you mean `{known}`?"));
    Err(format!("`{text}` is not a capability{}", meant.unwrap_or_default()))
}
