//! The table of filters of iptables-legacy, as far as it can drop packets: nf_tables does not see it. It is read as iptables(8) does, over the options of a socket (linux/netfilter_ipv4/ip_tables.h, and the same of IPv6).
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::{fs, io};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// The tables that the kernel's modules have, one a line; absent without them.
pub(super) const NAMES: [&str; 2] =
    ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];
const FILTER: &str = "filter";
/// IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES, and IPv6's: the same numbers.
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
/// Words of ipt_getinfo: a name, the valid hooks, where each hook's chain begins and where its policy is, and sizes.
const INFO: usize = 84;
const BEGINS: usize = 36;
const POLICY: usize = 56;
const SIZE: usize = 80;
/// NF_INET_FORWARD and NF_INET_LOCAL_OUT (linux/netfilter.h).
pub(super) const FORWARD: usize = 2;
pub(super) const OUTPUT: usize = 3;
/// ipt_get_entries: a name, a size, and after it the entries, which are aligned to eight.
const ENTRIES: usize = 40;
/// Where in an entry the offset of its target is, of IPv4 and IPv6; what a target has before its verdict.
const TARGET: [usize; 2] = [88, 140];
const VERDICT: usize = 32;
/// NF_ACCEPT, as a standard target has it.
const ACCEPT: i32 = -2;

/// Whether packets of IPv4 and IPv6 may be dropped in a hook: there is a rule, or a policy that does. What cannot be read
/// may.
pub(super) fn may_drop(hook: usize) -> [bool; 2] {
    [0, 1].map(|family| is_there(family) && !passes_all(family, hook).unwrap_or(false))
}

/// Whether there is such a table of IPv4 (0) or IPv6 (1).
pub(super) fn is_there(family: usize) -> bool {
    fs::read_to_string(NAMES[family]).is_ok_and(|names| names.lines().any(|name| name == FILTER))
}

fn passes_all(family: usize, hook: usize) -> io::Result<bool> {
    let (domain, level) =
        [(AddressFamily::Inet, libc::SOL_IP), (AddressFamily::Inet6, libc::SOL_IPV6)][family];
    let socket = socket(domain, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
    let mut info = vec![0; INFO];
    info[..FILTER.len()].copy_from_slice(FILTER.as_bytes());
    get(&socket, level, GET_INFO, &mut info)?;
    let of_hook = |table: usize| word(&info, table + 4 * hook);
    let (begins, policy, size) = (of_hook(BEGINS)?, of_hook(POLICY)?, word(&info, SIZE)?);
    if begins != policy {
        return Ok(false);
    }
    let mut entries = vec![0; ENTRIES + size];
    entries[..FILTER.len()].copy_from_slice(FILTER.as_bytes());
    entries[32..36].copy_from_slice(&info[SIZE..SIZE + 4]);
    get(&socket, level, GET_ENTRIES, &mut entries)?;
    let entry = ENTRIES + policy;
    let at = entry + TARGET[family];
    let target = entries.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let target = target.ok_or(io::ErrorKind::InvalidData)?;
    let at = entry + usize::from(target) + VERDICT;
    let verdict = entries.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    Ok(verdict.ok_or(io::ErrorKind::InvalidData)? == ACCEPT)
}

fn word(bytes: &[u8], at: usize) -> io::Result<usize> {
    let word = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    word.and_then(|word| usize::try_from(word).ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn get(socket: &OwnedFd, level: i32, option: i32, buffer: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes to the buffer, which has as many.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
