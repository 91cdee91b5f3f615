//! Records on disk: what the kernel's objects cannot tell.
//!
//! A record is replaced whole (write, then rename): a crash leaves the old or the new one. One that cannot be read
//! counts as absent, and what it stood for is found by name and taken up or removed. What a reboot ends, which is
//! a program that runs, is recorded where a reboot takes it away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use composer_network::firewall::Protocol;
use composer_sandbox::IdRange;
use composer_stack::{Bandwidth, Mac, Network, Oom, Resources, Service, Settable, Setting, Victim, Volume};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::paths::{ContainerPaths, StackPaths};

/// What is known of a stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StackRecord {
    /// Its name.
    pub name: String,
    /// The project directory.
    pub directory: PathBuf,
    /// The files it was read from.
    pub files: Vec<PathBuf>,
    /// The limits of the parent cgroup.
    pub resources: Resources,
    /// Its named volumes by key.
    pub volumes: BTreeMap<String, Volume>,
    /// Its networks by key.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
    /// What all of it receives and sends at most.
    #[serde(default)]
    pub bandwidth: Bandwidth,
    /// Who goes first when the parent cgroup's limit of memory is reached.
    #[serde(default)]
    pub victim: Option<Victim>,
    /// Its services in the file that was last brought up.
    pub services: BTreeMap<String, Service>,
    /// The folders of the caller's PATH.
    pub path: Vec<PathBuf>,
    /// Its networks as they were made, by key.
    #[serde(default)]
    pub made: BTreeMap<String, Network>,
    /// What `set` has put over the limits of the file; `resources` and `services` have it already.
    #[serde(default)]
    pub overs: Overs,
}

/// Limits over those of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overs {
    /// Over `x-resources`.
    pub stack: Option<Over>,
    /// By service.
    pub services: BTreeMap<String, Over>,
}

/// Limits over those of one service, or of the stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Over {
    /// What was set.
    pub set: Setting,
    /// What the file said then.
    pub file: Resources,
    /// The same of what happens when memory runs out.
    #[serde(default)]
    pub oom: Oom,
    /// And of the stack's victim.
    #[serde(default)]
    pub victim: Option<Victim>,
}

impl Overs {
    /// What stands over a service's limits from now on.
    pub fn put(&mut self, service: &str, over: Option<Over>) {
        match over {
            Some(over) => drop(self.services.insert(service.to_owned(), over)),
            None => drop(self.services.remove(service)),
        }
    }
}

impl Over {
    /// What stands over a file that says this; nothing where that says it all by itself.
    pub fn new(set: Setting, file: Settable) -> Option<Self> {
        let Settable { resources, oom, victim } = file;
        (!set.is_empty()).then_some(Self { set, file: resources, oom, victim })
    }

    /// What the file said.
    pub fn file(&self) -> Settable {
        Settable { resources: self.file.clone(), oom: self.oom.clone(), victim: self.victim }
    }

    /// What is left of it over a file that says `now`; nothing where that is none of it.
    pub fn onto(&self, now: &Settable) -> Option<Self> {
        Self::new(self.set.where_unedited(&self.file(), now), now.clone())
    }
}

/// A container's addresses, by the keys of its networks.
pub type Addresses = BTreeMap<String, Address>;

/// What a container has on a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Where the network has IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Where it has IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Of its interface.
    pub mac: Option<Mac>,
}

impl Address {
    /// Those there are.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Which replica, from 1.
    pub index: u32,
    /// The service as it was when the container was made.
    pub service: Service,
    /// The hash of that configuration.
    pub config_hash: String,
    /// When it was made: nanoseconds since the Unix epoch.
    pub created: u64,
    /// Its addresses while it has any.
    #[serde(default)]
    pub addresses: Addresses,
    /// The ports of the host that lead to it, or did when it last ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PublishedPort>,
    /// Where it is in its life.
    pub phase: Phase,
    /// What its restart policy goes by.
    #[serde(default)]
    pub history: History,
    /// Whether the steps of `pre_start` that it has to wait for have been run.
    #[serde(default)]
    pub prepared: bool,
    /// Whether it has been started by a command and its `post_start` has not run to a good end.
    #[serde(default)]
    pub unfinished: bool,
    /// Set where `run` has made it.
    #[serde(default)]
    pub oneoff: Option<OneOff>,
    /// Whether its last end was for want of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starved: bool,
    /// The CPUs that it has alone, for as long as its group is there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cores: BTreeSet<u32>,
    /// The number of the class that limits its bandwidth, where that has ever been limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<u16>,
    /// The ids of its users on the host while it runs, where it has a user namespace of its own.
    #[serde(skip)]
    pub userns: Option<IdRange>,
}

/// A port of the host that leads to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address; all of them where it is none.
    pub host_ip: Option<IpAddr>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's port.
    pub port: u16,
    /// The container's port.
    pub target: u16,
    /// Its address there: whoever takes the container up leads the port before the networks are known.
    #[serde(default)]
    pub v4: Option<Ipv4Addr>,
    /// The same of IPv6.
    #[serde(default)]
    pub v6: Option<Ipv6Addr>,
}

/// What has become of a container's starts since an operation last started it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// How often its policy has started it again.
    pub restarts: u32,
    /// How many starts have failed or been followed by an early end, in a row.
    pub failures: u32,
    /// Its next start, from an end until its program runs again.
    pub due: Option<Due>,
    /// Who has stopped it: its policy does not start it again.
    pub halt: Option<Halt>,
}

/// A start that a policy has decided on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// When: nanoseconds since the Unix epoch.
    pub at: u64,
    /// The boot it was decided in: after another one, the unit of `compose enable` decides.
    pub boot: String,
}

/// Who has stopped a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Halt {
    /// A command.
    User,
    /// The host, which is going down: the next boot brings the container back.
    Shutdown,
}

/// What `run` has made a container for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// It goes when its program ends.
    pub remove: bool,
    /// Somebody waits for it: where nobody does any more, one to be removed is stopped.
    pub attended: bool,
    /// It answers to its service's names too.
    pub aliases: bool,
}

/// Where a container is in its life, as far as it must outlive the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Made, not started.
    Created {
        /// Why its last start failed.
        reason: Option<String>,
    },
    /// Cloned; whether its program has been exec'd is for the kernel to say.
    Started(Process),
    /// Its program has ended.
    Exited {
        /// With this code, 128 + n for signal n; `None` where nobody was there to learn it.
        code: Option<i32>,
        /// Why, where it was not its own doing.
        reason: Option<String>,
        /// When it was started.
        started: u64,
        /// When it ended.
        finished: u64,
    },
}

/// A process that can be told from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// In the host's PID namespace.
    pub pid: i32,
    /// Its start in clock ticks since boot (proc_pid_stat(5), field 22).
    pub ticks: u64,
    /// The boot it belongs to (/proc/sys/kernel/random/boot_id).
    pub boot: String,
    /// When it was started: nanoseconds since the Unix epoch.
    pub started: u64,
}

/// What is known of a program that runs.
#[derive(Serialize, Deserialize)]
struct StartedRecord {
    process: Process,
    #[serde(default)]
    addresses: Addresses,
    /// In one that was written when there was one network a stack.
    #[serde(default, skip_serializing)]
    address: Option<Ipv4Addr>,
    /// `None` in one that was written before there were restarts.
    #[serde(default)]
    history: Option<History>,
    #[serde(default)]
    unfinished: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    userns: Option<IdRange>,
}

impl ContainerRecord {
    /// Those of a stack. One under another's name is what a crash has left.
    pub fn all(stack: &StackPaths) -> impl Iterator<Item = Self> {
        let read = |name: String| Self::read(&stack.container(&name)).filter(|record| record.name == name);
        stack.container_names().filter_map(read)
    }

    /// Those of a stack whose programs run, as far as its records know.
    pub fn running(stack: &StackPaths) -> Vec<Self> {
        Self::all(stack).filter(|record| matches!(record.phase, Phase::Started(_))).collect()
    }

    /// The addresses in the order in which its networks are joined.
    pub fn all_addresses(&self) -> Vec<IpAddr> {
        let on = |(key, _): (&str, _)| self.addresses.get(key);
        self.service.network.in_order().into_iter().filter_map(on).flat_map(Address::all).collect()
    }

    /// The first of them that is one of IPv4.
    pub fn first_ipv4(&self) -> Option<Ipv4Addr> {
        self.all_addresses().into_iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Writes it.
    pub fn write(&self, paths: &ContainerPaths) -> io::Result<()> {
        match &self.phase {
            Phase::Started(process) => {
                let (process, history) = (process.clone(), Some(self.history.clone()));
                let (addresses, address) = (self.addresses.clone(), None);
                let (unfinished, userns) = (self.unfinished, self.userns);
                let started = StartedRecord { process, addresses, address, history, unfinished, userns };
                write(&paths.started(), &started)
            }
            Phase::Created { .. } | Phase::Exited { .. } => {
                write(&paths.record(), self)?;
                match fs::remove_file(paths.started()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    Ok(()) | Err(_) => Ok(()),
                }
            }
        }
    }

    /// Writes what outlives its program, whether that runs or not: after another configuration has been taken over.
    pub fn rewrite(&self, paths: &ContainerPaths) -> io::Result<()> {
        match &self.phase {
            Phase::Started(_) => {
                let lasting = Self { phase: Phase::Created { reason: None }, ..self.clone() };
                write(&paths.record(), &lasting)
            }
            Phase::Created { .. } | Phase::Exited { .. } => self.write(paths),
        }
    }

    /// Reads it; `None` where there is none that can be read.
    pub fn read(paths: &ContainerPaths) -> Option<Self> {
        let mut record: Self = read(&paths.record())?;
        if let Some(StartedRecord { process, mut addresses, address, history, unfinished, userns }) =
            read(&paths.started())
        {
            // A crash between the two steps of recording the end leaves both.
            let is_over =
                matches!(&record.phase, Phase::Exited { started, .. } if *started == process.started);
            if !is_over {
                record.phase = Phase::Started(process);
                if let Some(ipv4) = address {
                    addresses
                        .insert("default".to_owned(), Address { ipv4: Some(ipv4), ..Address::default() });
                }
                record.addresses = addresses;
                record.history = history.unwrap_or(record.history);
                record.unfinished = unfinished;
                record.userns = userns;
            }
        }
        Some(record)
    }
}

/// Writes a record.
pub fn write<R: Serialize>(path: &Path, record: &R) -> io::Result<()> {
    let text = serde_json::to_vec(record)?;
    // The first one in place: half of it counts as none.
    let aside = path.with_extension("new");
    let new = if path.exists() { &aside } else { path };
    let written =
        fs::write(new, text).and_then(|()| if new == path { Ok(()) } else { fs::rename(new, path) });
    if written.is_err() {
        let _ = fs::remove_file(new);
    }
    written
}

/// Reads a record; `None` where there is none that can be read.
pub fn read<R: DeserializeOwned>(path: &Path) -> Option<R> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_there_were_restarts_is_read() {
        let service = r#"{"name":"a","rootfs":"host","entrypoint":null,"command":["x"],"environment":{},
            "working_dir":null,"user":null,"hostname":null,"domainname":null,"labels":{},"container_name":null,
            "replicas":1,"stop_signal":15,"stop_grace_period":null,"aliases":[],"mounts":[],"init":false,"tty":false,
            "stdin_open":false,"read_only":false,"depends_on":{},"healthcheck":null,"resources":{},"attach":true}"#;
        let record = format!(
            r#"{{"id":"0","name":"s-a-1","index":1,"service":{service},"config_hash":"h","created":1,"address":null,
            "phase":{{"Exited":{{"code":1,"reason":null,"started":2,"finished":3}}}}}}"#
        );
        let record: ContainerRecord = serde_json::from_str(&record).unwrap();
        assert_eq!(record.history, History::default());
        // Nor is it a reason to make the container anew.
        let same: Service = serde_json::from_str(service).unwrap();
        assert!(!serde_json::to_string(&same).unwrap().contains("restart"));
        let started = r#"{"process":{"pid":1,"ticks":2,"boot":"b","started":3},"address":"172.18.0.2"}"#;
        let started: StartedRecord = serde_json::from_str(started).unwrap();
        assert_eq!((started.history, started.address), (None, Some(Ipv4Addr::new(172, 18, 0, 2))));
    }
}
