//! Names of interfaces: functions of the names of stack, network and container, so that `observe` finds what a
//! crash left behind.
//!
//! An interface name has at most 15 characters (IFNAMSIZ, linux/if.h, less the NUL), too few for the names
//! themselves: it carries 60 bits of their SHA-256.

use sha2::{Digest, Sha256};

/// What the names of bridges begin with.
pub(crate) const BRIDGE: &str = "cb";
const VETH: &str = "cv";
const INNER: &str = "cd";
const OTHER: &str = "ce";
const INGRESS: &str = "ci";
const EGRESS: &str = "co";
/// Characters of the hash, five bits each.
const HASH_LENGTH: usize = 12;
/// The lower-case alphabet of RFC 4648's base32.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The bridge of a stack's network.
pub fn bridge(stack: &str, network: &str) -> String {
    name(BRIDGE, stack, network)
}

/// The host's end of a container's veth pair on a network.
pub fn veth(stack: &str, container: &str, network: &str) -> String {
    // No name has this character.
    name(VETH, stack, &format!("{container}\n{network}"))
}

/// The interface of a network that leads nowhere and has no bridge.
pub fn inner(stack: &str, network: &str) -> String {
    name(INNER, stack, network)
}

/// The other end of that.
pub(crate) fn other_end(inner: &str) -> String {
    inner.replacen(INNER, OTHER, 1)
}

/// The device that all that a stack's containers receive goes through, where that is limited.
pub fn ingress(stack: &str) -> String {
    name(INGRESS, stack, "")
}

/// The same of what they send.
pub fn egress(stack: &str) -> String {
    name(EGRESS, stack, "")
}

/// Whether a name is one that this module makes.
pub fn is_ours(name: &str) -> bool {
    [BRIDGE, VETH, INNER, OTHER, INGRESS, EGRESS].iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|hash| {
            hash.len() == HASH_LENGTH && hash.bytes().all(|byte| ALPHABET.contains(&byte))
        })
    })
}

fn name(prefix: &str, stack: &str, of: &str) -> String {
    // The separator can be in neither name, so two different pairs never hash the same text.
    let digest = Sha256::new().chain_update(stack).chain_update([0]).chain_update(of).finalize();
    let bits = digest.iter().take(8).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let hash = (0..HASH_LENGTH).map(|place| {
        let five = bits >> (59 - 5 * place) & 0x1f;
        char::from(ALPHABET[five as usize])
    });
    prefix.chars().chain(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_an_interface_and_stays_the_same() {
        let name = bridge("shop", "default");
        assert_eq!(name.len(), 14);
        assert_eq!(name, bridge("shop", "default"));
        assert!(is_ours(&name) && is_ours(&veth("shop", "shop-api-1", "default")));
        assert!(is_ours(&ingress("shop")) && is_ours(&egress("shop")));
    }

    #[test]
    fn a_name_differs_by_kind_stack_and_subject() {
        assert_ne!(bridge("shop", "a"), bridge("shop", "b"));
        assert_ne!(bridge("shop", "a"), bridge("sho", "pa"));
        assert_ne!(bridge("shop", "a"), veth("shop", "a", "b"));
        assert_ne!(veth("shop", "a", "b"), veth("shop", "a", "c"));
        assert!(is_ours(&inner("shop", "a")) && is_ours(&other_end(&inner("shop", "a"))));
        assert_ne!(ingress("shop"), egress("shop"));
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in ["eth0", "cb", "cbr0", "cbaaaaaaaaaaaa1", "cvAAAAAAAAAAAA", "docker0", "veth12ab34c"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
