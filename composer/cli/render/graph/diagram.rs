//! A stack as nodes and edges, whoever draws them.

use std::collections::HashMap;
use std::slice::from_ref;

use composer_stack::NetworkMode;
use composer_stack::graph::{Graph, Service, Source};

use super::words::{self, Ports, inline};

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Port,
    Service,
    Network,
    Volume,
    Bind,
    Config,
    Secret,
    /// What the files do not make: the host's network, containers of elsewhere, services of inactive profiles.
    Outside,
}

/// One part of the stack.
#[derive(Debug)]
pub struct Node {
    pub kind: Kind,
    /// The same as no other node of its kind has.
    pub name: String,
    /// Lines of text.
    pub label: Vec<String>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// An arrow.
    Arrow,
    /// One that counts only where its end is there.
    Dashed,
    /// Without a direction.
    Plain,
}

/// A line between two nodes, by their places in [`Diagram::nodes`].
#[derive(Debug)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// Empty where there is nothing to say.
    pub label: String,
    pub line: Line,
}

/// What is drawn.
#[derive(Debug, Default)]
pub struct Diagram {
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    known: HashMap<(Kind, String), usize>,
}

impl Diagram {
    /// Services first, each kind in the order of names.
    pub fn of(graph: &Graph) -> Self {
        let mut diagram = Self::default();
        for (name, service) in &graph.services {
            let (key, from) = words::root(graph, &service.root);
            let mut label = vec![name.clone(), format!("{key} {from}")];
            label.extend((service.replicas != 1).then(|| format!("{} replicas", service.replicas)));
            label.extend(
                (!service.profiles.is_empty()).then(|| format!("profiles {}", service.profiles.join(", "))),
            );
            diagram.node(Kind::Service, name, &label);
        }
        for (key, network) in &graph.networks {
            diagram.node(Kind::Network, key, &[key.clone(), words::network(network).join(", ")]);
        }
        for (key, volume) in &graph.volumes {
            diagram.node(Kind::Volume, key, &[key.clone(), words::volume(volume).join(", ")]);
        }
        for (kind, contents) in [(Kind::Config, &graph.configs), (Kind::Secret, &graph.secrets)] {
            for (key, content) in contents {
                diagram.node(kind, key, &[key.clone(), words::content(graph, content)]);
            }
        }
        for (name, service) in &graph.services {
            let at = diagram.node(Kind::Service, name, &[]);
            diagram.needs(graph, at, service);
            diagram.networks(at, service);
            diagram.ports(at, name, service);
            diagram.files(graph, at, service);
        }
        diagram
    }

    /// The place of a node, which is added with this label where it is not there.
    fn node(&mut self, kind: Kind, name: &str, label: &[String]) -> usize {
        let nodes = &mut self.nodes;
        *self.known.entry((kind, name.to_owned())).or_insert_with(|| {
            let label = label.iter().map(|line| inline(line)).collect();
            nodes.push(Node { kind, name: inline(name), label });
            nodes.len() - 1
        })
    }

    fn edge(&mut self, from: usize, to: usize, label: &str, line: Line) {
        self.edges.push(Edge { from, to, label: inline(label), line });
    }

    fn needs(&mut self, graph: &Graph, at: usize, service: &Service) {
        for (name, need) in &service.needs {
            let to = if graph.services.contains_key(name) {
                self.node(Kind::Service, name, &[])
            } else {
                self.node(Kind::Outside, name, &[name.clone(), "not active".to_owned()])
            };
            let line = if need.terms.required { Line::Arrow } else { Line::Dashed };
            self.edge(at, to, &words::need(need).join(", "), line);
        }
    }

    fn networks(&mut self, at: usize, service: &Service) {
        match &service.network {
            NetworkMode::Networks(_) => {
                for (key, attachment) in service.network.in_order() {
                    if let Some(to) = self.known.get(&(Kind::Network, key.to_owned())).copied() {
                        self.edge(at, to, &words::attachment(attachment).join(", "), Line::Plain);
                    }
                }
            }
            NetworkMode::Host => {
                let to = self.node(Kind::Outside, "host", &["the host's network".to_owned()]);
                self.edge(at, to, "", Line::Plain);
            }
            NetworkMode::Container(name) => {
                let to = self.container(name);
                self.edge(at, to, "its network", Line::Plain);
            }
            // The edge of the dependency tells of a service's; of none there is nothing to tell.
            NetworkMode::Service(_) | NetworkMode::None => {}
        }
    }

    fn container(&mut self, name: &str) -> usize {
        self.node(Kind::Outside, &format!("container {name}"), &[format!("container {name}")])
    }

    fn ports(&mut self, at: usize, name: &str, service: &Service) {
        for ports in Ports::of(&service.ports) {
            let (host, target) = (ports.host(), ports.target());
            let protocol = target.rsplit_once('/').map_or("", |(_, protocol)| protocol);
            // Any free port is one of this service alone.
            let of = if ports.is_any() { format!(" of {name} {target}") } else { format!("/{protocol}") };
            let from = self.node(Kind::Port, &format!("{host}{of}"), &[format!("{host}/{protocol}")]);
            self.edge(from, at, &target, Line::Arrow);
        }
    }

    /// Mounts of something that is there without the container, configs and secrets.
    fn files(&mut self, graph: &Graph, at: usize, service: &Service) {
        for mount in &service.mounts {
            let (_, source) = words::source(graph, mount);
            let to = match &mount.source {
                Source::Volume(key) => self.node(Kind::Volume, key, &[source]),
                Source::Bind(_) => self.node(Kind::Bind, &source, from_ref(&source)),
                Source::Other(..) => self.node(Kind::Outside, &source, from_ref(&source)),
                Source::Anonymous | Source::Tmpfs => continue,
            };
            self.edge(at, to, &words::target(mount), Line::Plain);
        }
        for name in &service.volumes_from {
            let to = self.container(name);
            self.edge(at, to, "its mounts", Line::Plain);
        }
        for (kind, files) in [(Kind::Config, &service.configs), (Kind::Secret, &service.secrets)] {
            for file in files {
                let to = self.node(kind, &file.source, from_ref(&file.source));
                self.edge(at, to, &file.target, Line::Plain);
            }
        }
    }
}
