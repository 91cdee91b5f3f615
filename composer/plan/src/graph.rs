//! The plan: steps, their causes and their order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;

use composer_stack::{Condition, Resources};
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

/// One thing to do. Each names what it acts on; how it is done is the executor's.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the parent cgroup, or bring its limits up to date.
    Group,
    /// Give the parent cgroup room for what is inside it now and for what is to be, until both have their new limits.
    Widen(Box<Resources>),
    /// Make the network with this key in the file, or mend it; one that was made by another configuration goes first.
    Network(String),
    /// Be on a network no more that stacks share, by the key that it had in the file.
    LeaveNetwork(String),
    /// Bring back the links of a container that runs.
    Plug {
        /// The container's name.
        container: String,
    },
    /// Make the volume with this key in the file.
    Volume(String),
    /// Make a container: its record and its folders.
    Create {
        /// The container's name.
        container: String,
        /// Its service.
        service: String,
        /// Which replica, from 1.
        index: u32,
    },
    /// Make a container anew in the place of one that does not run: its anonymous volumes stay.
    Recreate {
        /// The container's name from now on.
        container: String,
        /// The name of the one it takes the place of.
        old: String,
        /// Its service.
        service: String,
        /// Which replica, from 1.
        index: u32,
        /// Its anonymous volumes go too.
        renew_volumes: bool,
    },
    /// Give a container, whether it runs or not, what it can take over as it is: limits first of all.
    Update {
        /// The container's name.
        container: String,
        /// Its service.
        service: String,
    },
    /// Start a container: cgroup, namespaces, network, exec.
    Start {
        /// The container's name.
        container: String,
    },
    /// Wait until a service meets a condition, or never will.
    Await {
        /// The service waited for.
        service: String,
        /// What must hold.
        condition: Condition,
        /// Whether the step fails when the condition can no longer be met.
        required: bool,
    },
    /// End a container's program.
    Stop {
        /// The container's name.
        container: String,
    },
    /// Take a stopped container away: record, folders, logs.
    Remove {
        /// The container's name.
        container: String,
        /// Its anonymous volumes go too.
        volumes: bool,
    },
    /// Take away the stack's links and its bridges.
    RemoveNetworks,
    /// Take away a volume by its name on the host.
    RemoveVolume(String),
    /// Take away the parent cgroup.
    RemoveGroup,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group => write!(f, "set up the stack's cgroup"),
            Self::Widen(_) => write!(f, "give the stack's cgroup room"),
            Self::Network(key) => write!(f, "set up network {key}"),
            Self::LeaveNetwork(key) => write!(f, "leave network {key}"),
            Self::Plug { container } => write!(f, "plug in {container}"),
            Self::Volume(key) => write!(f, "create volume {key}"),
            Self::Create { container, .. } => write!(f, "create {container}"),
            Self::Recreate { container, old, .. } if container == old => write!(f, "recreate {container}"),
            Self::Recreate { container, old, .. } => write!(f, "recreate {old} as {container}"),
            Self::Update { container, .. } => write!(f, "update {container}"),
            Self::Start { container } => write!(f, "start {container}"),
            Self::Await { service, condition, .. } => match condition {
                Condition::Started => write!(f, "wait until {service} has started"),
                Condition::Healthy => write!(f, "wait until {service} is healthy"),
                Condition::CompletedSuccessfully => {
                    write!(f, "wait until {service} has completed successfully")
                }
            },
            Self::Stop { container } => write!(f, "stop {container}"),
            Self::Remove { container, .. } => write!(f, "remove {container}"),
            Self::RemoveNetworks => write!(f, "remove the networks"),
            Self::RemoveVolume(name) => write!(f, "remove volume {name}"),
            Self::RemoveGroup => write!(f, "remove the stack's cgroup"),
        }
    }
}

/// A step and why it is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What is done.
    pub step: Step,
    /// Why, in words for a user.
    pub cause: String,
    /// It brings about what should be there already, whatever somebody else has made of it: no reason to do anything.
    pub check: bool,
}

/// What is said where there is nothing to do.
pub const NOTHING: &str = "nothing to do";

/// Names a step within its plan.
pub type StepId = NodeIndex<u32>;

/// Steps and the order between them. Acyclic by construction: see [`Plan::new`].
#[derive(Clone, Debug)]
pub struct Plan {
    graph: DiGraph<Planned, ()>,
    /// Things a user should know that need no step, such as orphans.
    pub notes: Vec<String>,
}

impl Plan {
    pub(crate) fn new() -> Self {
        Self { graph: DiGraph::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, step: Step, cause: impl Into<String>) -> StepId {
        self.graph.add_node(Planned { step, cause: cause.into(), check: false })
    }

    /// A step that brings about what should be there already.
    pub(crate) fn add_check(&mut self, step: Step, cause: impl Into<String>) -> StepId {
        self.graph.add_node(Planned { step, cause: cause.into(), check: true })
    }

    pub(crate) fn order(&mut self, first: StepId, then: StepId) {
        self.graph.update_edge(first, then, ());
    }

    /// The steps in an order that respects every edge, ties in the order of planning.
    pub fn steps(&self) -> Vec<StepId> {
        let mut missing: Vec<usize> =
            self.graph.node_indices().map(|id| self.predecessors(id).count()).collect();
        let first = self.graph.node_indices().filter(|id| missing[id.index()] == 0);
        let mut ready: BinaryHeap<Reverse<StepId>> = first.map(Reverse).collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(id)) = ready.pop() {
            order.push(id);
            for next in self.successors(id) {
                missing[next.index()] -= 1;
                if missing[next.index()] == 0 {
                    ready.push(Reverse(next));
                }
            }
        }
        order
    }

    /// One step.
    pub fn get(&self, id: StepId) -> &Planned {
        &self.graph[id]
    }

    /// The steps that must be done before this one.
    pub fn predecessors(&self, id: StepId) -> impl Iterator<Item = StepId> + '_ {
        self.graph.neighbors_directed(id, Direction::Incoming)
    }

    /// The steps that wait for this one.
    pub fn successors(&self, id: StepId) -> impl Iterator<Item = StepId> + '_ {
        self.graph.neighbors_directed(id, Direction::Outgoing)
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is nothing to do: what exists is as it should be, though that may be brought about once more.
    pub fn is_empty(&self) -> bool {
        self.graph.node_weights().all(|planned| planned.check)
    }
}

impl fmt::Display for Plan {
    /// A line a step in executable order, with its cause and the numbers of the steps it waits for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.is_empty() { Vec::new() } else { self.steps() };
        if order.is_empty() {
            writeln!(f, "{NOTHING}")?;
        }
        let numbers: HashMap<StepId, usize> = order.iter().copied().zip(1..).collect();
        for (number, id) in order.iter().enumerate() {
            let planned = self.get(*id);
            let mut after: Vec<usize> =
                self.predecessors(*id).filter_map(|before| numbers.get(&before).copied()).collect();
            after.sort_unstable();
            write!(f, "{:>3}. {}: {}", number + 1, planned.step, planned.cause)?;
            if !after.is_empty() {
                let list: Vec<String> = after.iter().map(usize::to_string).collect();
                write!(f, " (after {})", list.join(", "))?;
            }
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
