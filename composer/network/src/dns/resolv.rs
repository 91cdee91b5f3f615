//! The host's resolv.conf (resolv.conf(5)).

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;

use super::sockets::{ADDRESS, PORT};

/// The resolver configuration of the host.
pub const HOST_FILE: &str = "/etc/resolv.conf";

/// How many dots a name has that is asked for as it is before the search domains are tried.
const NDOTS: &str = "ndots:";

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

impl ResolvConf {
    /// A container's, where this is the host's: our resolver in place of its own, which asks those, and `search` and
    /// `options` in place of the host's where there are any. A search domain `.` stands for none.
    pub fn within(self, search: &[String], options: &[String]) -> Self {
        let mut conf = Self {
            nameservers: vec![(ADDRESS, PORT).into()],
            search: chosen(search, self.search),
            options: chosen(options, self.options),
        };
        conf.search.retain(|domain| domain != ".");
        conf.options.retain(|option| !option.starts_with(NDOTS) || ndots(option).is_some());
        if conf.ndots().is_none() {
            // The names of the stack have no dots: nothing is looked for in the search domains first.
            conf.options.push(format!("{NDOTS}0"));
        }
        conf
    }

    /// That of a container that asks the host's resolvers itself, where this is the host's: `servers`, `search` and
    /// `options` in place of the host's where there are any. A search domain `.` stands for none.
    pub fn with(self, servers: &[IpAddr], search: &[String], options: &[String]) -> Self {
        let nameservers = match servers {
            [] => self.nameservers,
            servers => servers.iter().map(|server| (*server, PORT).into()).collect(),
        };
        let mut conf =
            Self { nameservers, search: chosen(search, self.search), options: chosen(options, self.options) };
        conf.search.retain(|domain| domain != ".");
        conf
    }

    fn ndots(&self) -> Option<u32> {
        self.options.iter().rev().find_map(|option| ndots(option))
    }

    /// Whether a client that goes by it tries names without a dot in the search domains before it asks for them as
    /// they are.
    pub fn searches_itself(&self) -> bool {
        self.ndots().is_some_and(|dots| dots > 0)
    }
}

/// The words of what is given, or the host's.
fn chosen(given: &[String], host: Vec<String>) -> Vec<String> {
    match given {
        [] => host,
        given => given.iter().flat_map(|text| text.split_ascii_whitespace()).map(str::to_owned).collect(),
    }
}

/// `ndots:N`, with a number.
fn ndots(option: &str) -> Option<u32> {
    option.strip_prefix(NDOTS)?.parse().ok()
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.nameservers {
            writeln!(f, "nameserver {}", server.ip())?;
        }
        for (word, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                writeln!(f, "{word} {}", values.join(" "))?;
            }
        }
        Ok(())
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

    #[test]
    fn a_containers_has_the_hosts_domains_and_options_but_for_what_is_given() {
        let host =
            || ResolvConf::parse("nameserver 10.0.0.1\nsearch a.example b.example\noptions edns0 trust-ad\n");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let written = |search, options| host().within(&words(search), &words(options)).to_string();
        let plain = "nameserver 127.0.0.11\nsearch a.example b.example\noptions edns0 trust-ad ndots:0\n";
        assert_eq!(written("", ""), plain);
        assert_eq!(
            written("c.example", "timeout:3 ndots:2"),
            "nameserver 127.0.0.11\nsearch c.example\noptions timeout:3 ndots:2\n"
        );
        assert_eq!(written(".", "ndots:many"), "nameserver 127.0.0.11\noptions ndots:0\n");
        assert!(host().within(&[], &words("ndots:1")).searches_itself());
        assert!(!host().within(&[], &[]).searches_itself());
    }

    #[test]
    fn one_without_our_resolver_has_what_is_given_and_the_rest_of_the_hosts() {
        let host = || ResolvConf::parse("nameserver 10.0.0.1\nsearch a.example\noptions edns0\n");
        let plain = "nameserver 10.0.0.1\nsearch a.example\noptions edns0\n";
        assert_eq!(host().with(&[], &[], &[]).to_string(), plain);
        let servers: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let given = host().with(&servers, &[".".to_owned()], &["timeout:3".to_owned()]).to_string();
        assert_eq!(given, "nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions timeout:3\n");
    }

    #[test]
    fn what_is_given_stays_on_its_line() {
        let text = ResolvConf::default().within(&["a\nnameserver 1.2.3.4".to_owned()], &[]).to_string();
        assert_eq!(text.lines().filter(|line| line.starts_with("nameserver")).count(), 1, "{text}");
    }
}
