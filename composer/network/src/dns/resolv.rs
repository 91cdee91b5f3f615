//! The host's resolv.conf (resolv.conf(5)).

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;

use super::sockets::PORT;

/// The resolver configuration of the host.
pub const HOST_FILE: &str = "/etc/resolv.conf";

/// What a resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The resolvers, in order, with port 53 and, for link-local ones, the scope.
    pub nameservers: Vec<SocketAddr>,
    /// The search domains.
    pub search: Vec<String>,
    /// The options, as written: `ndots:2`, `edns0`.
    pub options: Vec<String>,
}

/// The host's configuration; empty where there is none.
pub fn host_resolv() -> ResolvConf {
    ResolvConf::read(Path::new(HOST_FILE))
}

impl ResolvConf {
    /// Reads a file; one that is missing or unreadable says nothing.
    pub fn read(path: &Path) -> Self {
        fs::read(path).map(|bytes| Self::parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
    }

    /// Parses the text as resolv.conf(5) has it: of several `search` and `domain` lines the last counts, a line
    /// that starts with `#` or `;` is a comment, and what is not understood is passed over.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace().take_while(|word| !word.starts_with(['#', ';']));
            match words.next() {
                Some("nameserver") => conf.nameservers.extend(words.next().and_then(nameserver)),
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }
}

/// An address, with `%interface` or `%index` where it is link-local.
fn nameserver(word: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, PORT));
    };
    let scope = zone.parse().ok().or_else(|| nix::net::if_::if_nametoindex(zone).ok())?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_search_and_options_are_read_in_order() {
        let conf = ResolvConf::parse(
            "# made by hand\n; likewise\ndomain old.example\nnameserver 10.0.0.1 # the first\n\
             nameserver 2001:db8::1\nnameserver fe80::1%1\nsearch a.example b.example\noptions ndots:2 edns0\n\
             options timeout:1\nsortlist 1.2.3.4\nnameserver\nnameserver nonsense\n",
        );
        assert_eq!(
            conf.nameservers.iter().map(SocketAddr::to_string).collect::<Vec<_>>(),
            ["10.0.0.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]
        );
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!(conf.options, ["ndots:2", "edns0", "timeout:1"]);
    }

    #[test]
    fn a_missing_file_says_nothing() {
        assert_eq!(ResolvConf::read(Path::new("/nonexistent/resolv.conf")), ResolvConf::default());
    }
}
