//! Networks of the stack's own that others join: they become the host's.

use std::collections::BTreeMap;
use std::rc::Rc;

use composer_network::dns::Neighbours;
use composer_plan::{Plan, Step};
use composer_stack::{Driver, Network, Stack};

use super::super::container::Container;
use super::super::start::{Result, StartError};
use super::super::turn::Operation;
use super::super::{Engine, asyncfd};
use super::doing;
use crate::client::Client;
use crate::host::networks::{self, Elsewhere, Giver, HostNetwork};
use crate::paths;
use crate::protocol::{Action, Asked, Failure, Reply, Request, Subject};

/// How often another stack is asked to share a network.
const TRIES: usize = 4;

impl Engine {
    /// Makes a network of the stack's the host's, as another stack is to be on it. It waits for nobody's turn: an `up` may wait
    /// for what the other stack is to bring.
    pub(in super::super) async fn share(
        &self,
        name: &str,
        operation: &Operation,
    ) -> std::result::Result<Option<Reply>, Failure> {
        let giving = self.giving.write().await;
        let (_giving, _turn) = if self.sweeping.get() {
            drop(giving);
            // What is about to go is given to nobody.
            let turn = self.take_turn(operation).await?;
            (self.giving.write().await, Some(turn))
        } else {
            (giving, None)
        };
        let own = self.record.borrow().as_ref().and_then(|record| {
            // What has been made comes first: the file may say otherwise by now.
            let mut known = record.made.iter().chain(&record.networks);
            known
                .find(|(_, network)| !network.external && network.name == name)
                .map(|(key, network)| (key.clone(), network.clone()))
        });
        let Some((key, made)) = own else {
            // Another stack may have asked before.
            return match networks::read(name) {
                Some(_) => Ok(None),
                None => Err(Failure::new(format!("stack {} has no network {name} any more", self.stack), 1)),
            };
        };
        if made.driver != Driver::Bridge {
            return Err(Failure {
                help: Some(
                    "make one that both share: `compose network create`, and `external: true` in both files"
                        .to_owned(),
                ),
                ..Failure::new(
                    format!(
                        "network {name} is that of stack {} alone: it is on an interface of the host's",
                        self.stack
                    ),
                    1,
                )
            });
        }
        self.give(&key, made).await.map(|()| None).map_err(|error| Failure::from(&error))
    }

    /// The first of the networks that a plan sees to which another stack has to share before this one is on it.
    pub(in super::super) fn elsewhere(&self, plan: &Plan, stack: &Stack) -> Option<Elsewhere> {
        let steps = plan.steps().into_iter().filter_map(|id| match &plan.get(id).step {
            Step::Network(key) => stack.networks.get(key).map(|network| network.name.clone()),
            _ => None,
        });
        networks::elsewhere(&steps.collect::<Vec<_>>(), &self.stack).into_iter().next()
    }

    /// Asks another stack for one of the networks that are wanted. Whoever asks has no turn: two that wait for each other
    /// would wait for ever.
    pub(in super::super) async fn have_shared(
        &self,
        elsewhere: &Elsewhere,
        wanting: &BTreeMap<String, Network>,
        operation: &Operation,
    ) -> std::result::Result<(), Failure> {
        let mut cancel = operation.cancel.subscribe();
        let asking = async {
            for tries in 1.. {
                match self.ask_for(elsewhere, operation).await {
                    // The stack may have gone meanwhile, and its network with it, and have come back.
                    Err(failure) if tries == TRIES && self.is_still(elsewhere) => return Err(failure),
                    Err(_) if self.is_still(elsewhere) => {}
                    Ok(()) | Err(_) => break,
                }
            }
            Ok(())
        };
        let asked = tokio::select! {
            asked = asking => asked,
            _ = cancel.wait_for(|cancel| *cancel) => Err(Failure::new("abandoned".to_owned(), 1)),
        };
        let key = wanting.iter().find(|(_, network)| network.name == elsewhere.network);
        let at = key.map(|(key, _)| vec!["networks".to_owned(), key.clone()]).unwrap_or_default();
        asked.map_err(|failure| Failure { at, ..failure })
    }

    fn is_still(&self, elsewhere: &Elsewhere) -> bool {
        networks::elsewhere(std::slice::from_ref(&elsewhere.network), &self.stack).contains(elsewhere)
    }

    async fn ask_for(
        &self,
        Elsewhere { stack, network }: &Elsewhere,
        operation: &Operation,
    ) -> std::result::Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!("ask stack {stack} to share network {network}: {error}"), 1)
        };
        let socket = Client::socket(stack).map_err(|error| failed(&error))?;
        let gone = "its supervisor has gone; the next command of that stack starts another";
        let socket = socket.ok_or_else(|| failed(&gone))?;
        let socket = asyncfd::new(socket).map_err(|error| failed(&error))?;
        let asked = Asked::now(Request::Share(network.clone()));
        asyncfd::send(&socket, &asked, &[]).await.map_err(|error| failed(&error))?;
        while let Some((reply, _)) =
            asyncfd::receive::<Reply>(&socket).await.map_err(|error| failed(&error))?
        {
            match reply {
                Reply::Waits(_) => operation.note(reply),
                Reply::Failed(failure) => return Err(failure),
                Reply::Done => return Ok(()),
                _ => {}
            }
        }
        Err(failed(&gone))
    }

    async fn give(&self, key: &str, made: Network) -> Result<()> {
        // Whoever joins it finds it as it is to be. What the file says of one that is made decides at the next `up`.
        let is_made = self.record.borrow().as_ref().is_some_and(|record| record.made.get(key) == Some(&made));
        if is_made {
            self.bring_network(key, made.clone()).await?;
        } else {
            self.ensure(key).await?;
        }
        let record = {
            let networks = self.networks.borrow();
            let Some(net) = networks.get(key) else { return Ok(()) };
            let giver = Giver { stack: self.stack.clone(), key: key.to_owned(), asked: made.clone() };
            networks::give(giver, &net.bridge.name, &net.bridge.subnets)
                .map_err(|error| sharing(&made.name, &error))?
        };
        let containers: Vec<_> = self.containers.borrow().values().cloned().collect();
        self.entrust(key, &record, &containers)?;
        if let Some(net) = self.networks.borrow_mut().get_mut(key) {
            let folder = paths::shared_names(&made.name);
            let neighbours = Neighbours::join(&folder, &self.stack, Rc::clone(&net.zone));
            let neighbours = neighbours.map_err(|error| sharing(&made.name, &error))?;
            neighbours.publish().map_err(|error| sharing(&made.name, &error))?;
            net.neighbours = Some(neighbours);
            net.id = Some(record.id);
            (net.config.external, net.config.by_name) = (true, true);
        }
        // In the host's link group.
        self.bring_network(key, Network { external: true, by_name: true, ..made }).await?;
        self.know_own_names();
        Ok(())
    }

    /// Takes up what a supervisor has left that died in the midst of it.
    pub(in super::super) fn finish_giving(&self, containers: &[Rc<Container>]) -> Result<()> {
        for (key, record) in networks::given_by(&self.stack) {
            let made = self.record.borrow().as_ref().and_then(|record| record.made.get(&key).cloned());
            if made.is_some_and(|made| !made.external && made.name == record.network.name) {
                self.entrust(&key, &record, containers)?;
            }
        }
        Ok(())
    }

    /// What the registry and the records know of a network is that of one of the host's.
    fn entrust(&self, key: &str, shared: &HostNetwork, containers: &[Rc<Container>]) -> Result<()> {
        let name = &shared.network.name;
        let on = containers.iter().filter_map(|container| {
            let address = *container.record.borrow().addresses.get(key)?;
            Some((self.owner(&container.name()), address))
        });
        networks::entrust(&self.registry, shared, on).map_err(|error| sharing(name, &error))?;
        let set = |shared: bool| {
            if let Some(record) = &mut *self.record.borrow_mut() {
                let known = [record.made.get_mut(key), record.networks.get_mut(key)];
                for network in known.into_iter().flatten().filter(|network| network.name == *name) {
                    (network.external, network.by_name) = (shared, shared);
                }
            }
        };
        set(true);
        self.save().map_err(|error| {
            set(false);
            sharing(name, &error)
        })
    }

    /// Whether a network that the stack has shared is still what its file wants. Where nobody else is on it any more, it is
    /// made anew otherwise.
    pub(super) fn still_serves(&self, key: &str, wanted: &Network, shared: &HostNetwork) -> Result<bool> {
        let (Some(giver), name) = (&shared.of, &wanted.name) else { return Ok(true) };
        if giver.asked.serves(wanted) {
            return Ok(true);
        }
        let mut others = networks::stacks_on(name);
        others.retain(|stack| *stack != self.stack);
        if others.is_empty() {
            return Ok(false);
        }
        let help = format!("take the other stacks down that are on it: {}", others.join(", "));
        Err(StartError {
            at: ["networks", key].map(str::to_owned).to_vec(),
            help: Some(help),
            ..StartError::new(format!(
                "network {name} is configured otherwise now, and cannot be made anew: other stacks are on it"
            ))
        })
    }

    /// The network that the stack has shared under this key and is about to make anew by another configuration, as nobody
    /// else is on it.
    pub(super) fn taken_back(&self, key: &str, wanted: &Network) -> Option<HostNetwork> {
        let record = self.record.borrow();
        let made = record.as_ref()?.made.get(key).filter(|made| made.external && !wanted.external)?;
        let shared = networks::read(&made.name).filter(|shared| shared.is_of(&self.stack))?;
        networks::stacks_on(&made.name).iter().all(|stack| *stack == self.stack).then_some(shared)
    }

    /// Removes networks that stacks have shared and all have left, and tells what becomes of these, which this stack has
    /// left.
    pub(super) async fn sweep_given(&self, left: &[String]) -> Result<()> {
        let gone = self.sweep_shared().await?;
        for name in left {
            if gone.contains(name) {
                self.announce(Subject::Network(name.clone()), Action::Removed);
            }
            let on = networks::stacks_on(name);
            let stays = networks::read(name).is_some_and(|shared| shared.is_of(&self.stack));
            if !stays || on.contains(&self.stack) {
                continue;
            }
            let who = match on.as_slice() {
                [one] => format!("stack {one} is"),
                more => format!("stacks {} are", more.join(", ")),
            };
            let text = format!("network {name} stays: {who} on it; it goes with the last stack that is");
            self.announce(Subject::Network(name.clone()), Action::Warning(text));
        }
        Ok(())
    }

    /// Removes those that all have left; their names.
    pub(in super::super) async fn sweep_shared(&self) -> Result<Vec<String>> {
        let swept = tokio::task::spawn_blocking(networks::sweep).await;
        swept.map_err(|error| error.to_string()).and_then(|gone| gone).map_err(StartError::new)
    }
}

/// The names of the networks that a stack makes for itself.
pub(in super::super) fn named(stack: &Stack) -> Vec<String> {
    let own = stack.networks.values().filter(|network| !network.external);
    own.map(|network| network.name.clone()).collect()
}

fn sharing(name: &str, error: &dyn std::fmt::Display) -> StartError {
    doing(&format!("share network {name}"), error)
}
