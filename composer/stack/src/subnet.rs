//! Subnets: `172.28.0.0/16`.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// A range of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// As given: it may have bits set beyond the prefix.
    pub address: IpAddr,
    pub length: u8,
}

impl Subnet {
    /// The subnet of `text`; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let length = length.parse().ok()?;
        (u32::from(length) <= width(address)).then_some(Self { address, length })
    }

    /// Its lowest address: that of the network itself.
    pub fn first(&self) -> IpAddr {
        put(self.address, bits(self.address) & self.mask())
    }

    /// Its highest address: the broadcast address of IPv4.
    pub fn last(&self) -> IpAddr {
        put(self.address, bits(self.address) & self.mask() | !self.mask() & full(self.address))
    }

    /// The address that a network gives its gateway where none was chosen.
    pub fn gateway(&self) -> IpAddr {
        put(self.address, bits(self.first()).saturating_add(1).min(bits(self.last())))
    }

    /// How many addresses there are in it.
    pub fn size(&self) -> u128 {
        1_u128.checked_shl(width(self.address) - u32::from(self.length)).unwrap_or(u128::MAX)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && bits(address) & self.mask() == bits(self.first())
    }

    /// Whether all of `other` lies inside.
    pub fn covers(&self, other: &Self) -> bool {
        other.length >= self.length && self.contains(other.first())
    }

    /// The same without the bits beyond the prefix.
    pub fn clean(&self) -> Self {
        Self { address: self.first(), length: self.length }
    }

    fn mask(&self) -> u128 {
        let free = width(self.address) - u32::from(self.length);
        full(self.address) & full(self.address).checked_shl(free).unwrap_or(0)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl From<Subnet> for IpNet {
    fn from(subnet: Subnet) -> Self {
        let net = Self::new(subnet.address, subnet.length);
        net.unwrap_or_else(|_| subnet.address.into())
    }
}

/// What no network of containers can be in, and what it is.
const UNUSABLE: [(&str, &str); 6] = [
    ("127.0.0.0/8", "every container's own (loopback)"),
    ("224.0.0.0/4", "for groups (multicast)"),
    ("255.255.255.255/32", "everybody (broadcast)"),
    ("fe80::/10", "what each interface gives itself (link-local)"),
    ("ff00::/8", "for groups (multicast)"),
    ("::ffff:0.0.0.0/96", "IPv4's"),
];

/// Why no network can have a subnet, and what to do.
pub fn unusable_subnet(subnet: IpNet) -> Option<(String, String)> {
    let private = match subnet {
        IpNet::V4(_) => "10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
        IpNet::V6(_) => "fd00::/8",
    };
    if subnet.network().is_unspecified() {
        let why = format!("the subnet {subnet} begins with {}, which is no address", subnet.network());
        let help = format!(
            "what Docker takes for any free subnet of that size is none here: name no subnet, for a free one, or one of {private}"
        );
        return Some((why, help));
    }
    let overlaps = |other: IpNet| other.contains(&subnet) || subnet.contains(&other);
    let (special, what) = UNUSABLE.into_iter().find(|(special, _)| special.parse().is_ok_and(overlaps))?;
    let why = format!("no container can have addresses of the subnet {subnet}: {special} is {what}");
    Some((why, format!("choose one of {private}, or none, for a free one")))
}

/// What it means that a subnet is a part of what the host has a route to.
pub fn hidden_by(subnet: IpNet, route: IpNet) -> (String, &'static str) {
    let what = format!(
        "the subnet {subnet} is a part of {route}, which the host has a route to: for what is in that part it leads to this \
         network now"
    );
    (what, "nothing is to be done where nobody is there; else choose another subnet, or none, for a free one")
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn full(address: IpAddr) -> u128 {
    if address.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// An address of the kind of `like`.
fn put(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    #[test]
    fn what_no_container_can_have() {
        let why = |text: &str| unusable_subnet(text.parse().unwrap()).map(|(why, _)| why);
        for text in
            ["10.0.0.0/8", "0.1.0.0/16", "169.254.0.0/16", "240.1.0.0/16", "fd00::/64", "2001:db8::/64"]
        {
            assert_eq!(why(text), None, "{text}");
        }
        for (text, what) in [
            ("0.0.0.0/26", "which is no address"),
            ("::/64", "which is no address"),
            ("127.5.0.0/24", "loopback"),
            ("64.0.0.0/2", "loopback"),
            ("224.0.5.0/24", "multicast"),
            ("224.0.0.0/3", "multicast"),
            ("240.0.0.0/4", "broadcast"),
            ("fe80::/64", "link-local"),
            ("fe90::/64", "link-local"),
            ("ff02::/64", "multicast"),
            ("::ffff:10.0.0.0/112", "IPv4"),
        ] {
            assert!(why(text).is_some_and(|why| why.contains(what)), "{text}");
        }
    }

    #[test]
    fn ranges() {
        let net = subnet("172.28.5.1/16");
        assert_eq!(net.clean().to_string(), "172.28.0.0/16");
        assert_eq!(net.last().to_string(), "172.28.255.255");
        assert_eq!(net.gateway().to_string(), "172.28.0.1");
        assert!(net.contains("172.28.9.9".parse().unwrap()));
        assert!(!net.contains("172.29.0.1".parse().unwrap()) && !net.contains("::1".parse().unwrap()));
        assert!(net.covers(&subnet("172.28.4.0/24")) && !subnet("172.28.4.0/24").covers(&net));
        assert!(!net.covers(&subnet("172.29.0.0/16")) && subnet("0.0.0.0/0").covers(&net));
        assert!(!subnet("::/0").covers(&net));
        assert_eq!(subnet("10.0.0.7/32").gateway().to_string(), "10.0.0.7");
        let highest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(subnet(&format!("{highest}/128")).gateway().to_string(), highest);
        assert_eq!(subnet("fd00::/64").gateway().to_string(), "fd00::1");
        assert_eq!([subnet("10.0.0.0/30").size(), subnet("::/127").size()], [4, 2]);
        assert_eq!([subnet("0.0.0.0/0").size(), subnet("::/0").size()], [1 << 32, u128::MAX]);
        assert_eq!(subnet("::/0").last().to_string(), highest);
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "x/8", "::/129"] {
            assert_eq!(Subnet::parse(text), None, "{text}");
        }
    }
}
