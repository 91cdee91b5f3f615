//! What is said of the parts of a stack, each in a few words on one line.

use composer_stack::graph::{
    Content, FileMount, Graph, Mount, Need, Network, Port, Root, Source, Use, Volume,
};
use composer_stack::{Attachment, Condition};

use crate::render::plain;

/// Text of a file's on one line, without anything that does something to a terminal.
pub fn inline(text: &str) -> String {
    plain::plain(text).replace(['\n', '\t'], " ")
}

/// A path as people write it: from the project's folder where it is below that.
pub fn path(graph: &Graph, path: &str) -> String {
    match path.strip_prefix(graph.directory.trim_end_matches('/')) {
        Some("") => ".".to_owned(),
        Some(below) if below.starts_with('/') => format!(".{below}"),
        Some(_) | None => path.to_owned(),
    }
}

/// Where a service's programs come from, and by which key.
pub fn root(graph: &Graph, root: &Root) -> (&'static str, String) {
    match root {
        Root::Rootfs(from) => ("rootfs", path(graph, from)),
        Root::Image(image) => ("image", image.clone()),
        Root::Build(context) => ("build", path(graph, context)),
        Root::Provider(kind) => ("provider", kind.clone()),
        Root::Unknown => ("image", "not given".to_owned()),
    }
}

/// On which terms a service needs another, and what it has of it.
pub fn need(need: &Need) -> Vec<&'static str> {
    let terms = &need.terms;
    let condition = match terms.condition {
        Condition::Started => "started",
        Condition::Healthy => "healthy",
        Condition::CompletedSuccessfully => "completed",
    };
    let flags = [(terms.restart, "restart"), (!terms.required, "optional")];
    let uses = need.uses.iter().map(|what| match what {
        Use::Name => "its name",
        Use::Mounts => "its mounts",
        Use::Network => "its network",
        Use::Ipc => "its IPC",
        Use::Processes => "its processes",
        Use::HostName => "its host name",
        Use::Cgroup => "its cgroup",
    });
    let flags = flags.into_iter().filter_map(|(is_set, word)| is_set.then_some(word));
    [condition].into_iter().chain(flags).chain(uses).collect()
}

/// As what a service is on a network.
pub fn attachment(at: &Attachment) -> Vec<String> {
    let aliases = at.aliases.iter().map(|alias| format!("as {alias}"));
    let ipv4 = at.ipv4_address.map(|address| address.to_string());
    let ipv6 = at.ipv6_address.map(|address| address.to_string());
    aliases.chain(ipv4).chain(ipv6).collect()
}

/// What a network is.
pub fn network(network: &Network) -> Vec<String> {
    let mut words = vec![network.name.clone()];
    if network.external {
        words.push("external".to_owned());
    } else {
        words.push(network.driver.clone());
    }
    words.extend(network.internal.then(|| "internal".to_owned()));
    words.extend(network.subnets.iter().cloned());
    words
}

/// What a named volume is.
pub fn volume(volume: &Volume) -> Vec<String> {
    let mut words = vec![volume.name.clone()];
    words.extend(volume.external.then(|| "external".to_owned()));
    words.extend((volume.driver != "local").then(|| volume.driver.clone()));
    words
}

/// Where a config or a secret comes from.
pub fn content(graph: &Graph, content: &Content) -> String {
    match content {
        Content::File(file) => format!("file {}", path(graph, file)),
        Content::Variable(name) => format!("variable {name}"),
        Content::Inline => "written in the Compose file".to_owned(),
        Content::External(name) => format!("{name}, external"),
        Content::Unknown => "not given".to_owned(),
    }
}

/// What is mounted, by which kind of mount.
pub fn source(graph: &Graph, mount: &Mount) -> (&'static str, String) {
    match &mount.source {
        Source::Bind(from) => ("bind", path(graph, from)),
        Source::Volume(key) => ("volume", key.clone()),
        Source::Anonymous => ("volume", String::new()),
        Source::Tmpfs => ("tmpfs", String::new()),
        Source::Other(kind, source) => ("mount", format!("{kind} {source}")),
    }
}

/// Where something is mounted, and whether to be read alone.
pub fn target(mount: &Mount) -> String {
    let suffix = if mount.read_only { ", read-only" } else { "" };
    format!("{}{suffix}", mount.target)
}

/// A config or secret as a service gets it.
pub fn file(file: &FileMount) -> String {
    format!("{} -> {}", file.source, file.target)
}

/// Published ports that follow each other on both sides.
pub struct Ports<'a> {
    address: Option<&'a str>,
    published: Option<(u16, u16)>,
    target: (u16, u16),
    protocol: &'a str,
}

impl<'a> Ports<'a> {
    /// All ports of a service.
    pub fn of(ports: &'a [Port]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for port in ports {
            let next = Self {
                address: port.address.as_deref(),
                published: port.published,
                target: (port.target, port.target),
                protocol: &port.protocol,
            };
            match all.last_mut() {
                Some(last) if last.goes_on_with(&next) => {
                    last.target.1 = next.target.1;
                    last.published = last.published.zip(next.published).map(|(a, b)| (a.0, b.1));
                }
                Some(_) | None => all.push(next),
            }
        }
        all
    }

    fn goes_on_with(&self, next: &Self) -> bool {
        let follows = |last: u16, first: u16| last.checked_add(1) == Some(first);
        let published = match (self.published, next.published) {
            (None, None) => true,
            // One of a range is published elsewhere with every start, so that it is in no row with others.
            (Some(own), Some(other)) => {
                own.1 - own.0 == self.target.1 - self.target.0
                    && other.0 == other.1
                    && follows(own.1, other.0)
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        published
            && (self.address, self.protocol) == (next.address, next.protocol)
            && follows(self.target.1, next.target.0)
    }

    /// Whether the host's port is any free one.
    pub fn is_any(&self) -> bool {
        self.published.is_none()
    }

    /// `127.0.0.1:8080`.
    pub fn host(&self) -> String {
        let ports = self.published.map_or_else(|| "any".to_owned(), range);
        match self.address {
            Some(address) if address.contains(':') => format!("[{address}]:{ports}"),
            Some(address) => format!("{address}:{ports}"),
            None => ports,
        }
    }

    /// `80/tcp`.
    pub fn target(&self) -> String {
        format!("{}/{}", range(self.target), self.protocol)
    }
}

fn range((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
