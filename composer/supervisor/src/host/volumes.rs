//! Volumes of the host: `compose volume create|ls|rm|inspect|prune`. A volume is a folder, and is there when that is; its
//! record beside it says how it was asked for. Those from before there were records have none.

pub(crate) mod left;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use composer_sandbox::Device;
use composer_stack::{MountKind, Volume};
use serde::{Deserialize, Serialize};

use self::left::Left;
use super::{Error, devices, root};
use crate::paths::{self, StackPaths};
use crate::records::{self, ContainerRecord, StackRecord};
use crate::{clock, identifier};

/// The label by which Docker tells a volume that nobody has named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What is recorded of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostVolume {
    /// Its name.
    pub name: String,
    /// When it was made: nanoseconds since the Unix epoch.
    pub created: u64,
    /// Its labels, as they were asked for.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver `local`.
    pub driver_opts: BTreeMap<String, String>,
    /// The stack that it was made for, and its key in the file.
    pub of: Option<(String, String)>,
    /// Set where nobody has named it and its container is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// Any volume, as `ls` and `inspect` show it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What is recorded.
    pub volume: HostVolume,
    /// Its folder, or where it is mounted while it is.
    pub place: PathBuf,
    /// Whether nobody has named it.
    pub anonymous: bool,
    /// The containers that mount it, by stack, service and name.
    pub users: Vec<User>,
}

/// A container that mounts a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// Its stack.
    pub stack: String,
    /// Its service.
    pub service: String,
    /// Its name.
    pub container: String,
}

impl Shown {
    /// Its labels, with those that Docker and Docker Compose give volumes.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.volume.labels.clone();
        if let Some((stack, key)) = &self.volume.of {
            labels.insert("com.docker.compose.project".to_owned(), stack.clone());
            labels.insert("com.docker.compose.volume".to_owned(), key.clone());
        }
        if let Some(Left { stack, service, lent: _ }) = &self.volume.left {
            labels.insert("com.docker.compose.project".to_owned(), stack.clone());
            let service = service.iter().map(|name| ("com.docker.compose.service".to_owned(), name.clone()));
            labels.extend(service);
        }
        if self.anonymous {
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        labels
    }
}

/// The volume of this name, if the host has one.
pub(crate) fn read(name: &str) -> Option<HostVolume> {
    let folder = fs::metadata(paths::volume(name)).ok().filter(fs::Metadata::is_dir)?;
    let recorded =
        records::read(&paths::volume_record(name)).filter(|record: &HostVolume| record.name == name);
    Some(recorded.unwrap_or_else(|| HostVolume {
        name: name.to_owned(),
        created: folder.created().ok().and_then(nanoseconds).unwrap_or_default(),
        labels: BTreeMap::new(),
        driver_opts: BTreeMap::new(),
        of: None,
        left: None,
    }))
}

fn nanoseconds(time: std::time::SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// The same with a record, which is locked for it.
pub(crate) fn recorded(name: &str) -> io::Result<Option<HostVolume>> {
    let Some(volume) = read(name) else { return Ok(None) };
    if !paths::volume_record(name).exists() {
        write(&volume)?;
    }
    Ok(Some(volume))
}

fn write(volume: &HostVolume) -> io::Result<()> {
    paths::despite_tidying(|| {
        paths::make(&paths::volume_records())?;
        records::write(&paths::volume_record(&volume.name), volume)
    })
}

/// What `driver_opts` mount in a volume's place; `None` where it is a folder.
pub(crate) fn device(volume: &HostVolume) -> Option<Device> {
    Device::new(&volume.driver_opts)
}

/// Makes a volume that is not there; whether it was not. Its record comes first: it counts once there is a folder.
pub(crate) fn make(volume: &Volume, of: Option<(String, String)>) -> io::Result<bool> {
    let Volume { name, labels, driver_opts, external: _ } = volume;
    if paths::volume(name).is_dir() {
        return Ok(false);
    }
    write(&HostVolume {
        name: name.clone(),
        created: clock::now(),
        labels: labels.clone(),
        driver_opts: driver_opts.clone(),
        of,
        left: None,
    })?;
    paths::make_volume(name)
}

/// Takes a volume away, whoever uses it; nothing where it is gone.
pub(crate) fn take_away(name: &str) -> io::Result<()> {
    composer_sandbox::remove(&paths::linked_volume(name))?;
    composer_sandbox::remove(&paths::volume(name))?;
    composer_sandbox::remove(&paths::volume_record(name))?;
    paths::tidy_volumes();
    Ok(())
}

/// The names of all volumes; `None` where the caller may not know them.
pub fn known() -> Option<BTreeSet<String>> {
    root().ok()?;
    Some(names().collect())
}

fn names() -> impl Iterator<Item = String> {
    let folders = fs::read_dir(paths::volumes()).into_iter().flatten().flatten();
    folders.filter_map(|folder| Some(paths::of_file(&folder.file_name().into_string().ok()?)))
}

/// Those with a name of their own, which their folders are called after.
fn all() -> Vec<HostVolume> {
    names().filter_map(|name| read(&name)).collect()
}

/// Makes a volume, or takes the one there is where it was asked for in the same way; its name.
///
/// # Errors
/// When there is another of the name, or it cannot be written.
pub fn create(
    volume: Option<String>,
    labels: BTreeMap<String, String>,
    driver_opts: BTreeMap<String, String>,
) -> Result<String, Error> {
    root()?;
    let named = volume.is_some();
    let refused = |name: &str, why: String| Error::Volume { doing: "create", name: name.to_owned(), why };
    let name = match volume {
        Some(name) => name,
        None => identifier().map_err(|error| refused("without a name", error.to_string()))?,
    };
    let mut wanted = Volume { name, external: false, labels, driver_opts };
    if !named {
        wanted.labels.insert(ANONYMOUS.to_owned(), String::new());
    }
    if let Some(known) = read(&wanted.name)
        && known.driver_opts != wanted.driver_opts
    {
        return Err(refused(
            &wanted.name,
            "there is one of that name with other options: remove it first".to_owned(),
        ));
    }
    make(&wanted, None).map_err(|error| refused(&wanted.name, error.to_string()))?;
    Ok(wanted.name)
}

/// Removes a volume that no container has.
///
/// # Errors
/// When there is none, it goes with its container, somebody has it, or something of it cannot be removed.
pub fn remove(name: &str) -> Result<(), Error> {
    root()?;
    let refused = |why: String| Error::Volume { doing: "remove", name: name.to_owned(), why };
    let all = list()?;
    let Some(shown) = all.iter().find(|shown| shown.volume.name == name) else {
        return Err(refused("there is none of that name".to_owned()));
    };
    if !shown.users.is_empty() {
        let users: Vec<&str> = shown.users.iter().map(|user| user.container.as_str()).collect();
        return Err(refused(format!("volume is in use by {}", users.join(", "))));
    }
    if devices::is_held(name) {
        return Err(refused("it is mounted for a container that is about to start or to go".to_owned()));
    }
    take_away(name).map_err(|error| refused(error.to_string()))?;
    paths::tidy();
    Ok(())
}

/// How many bytes are in a volume's files, as far as they can be looked at; what it mounts is not its own.
pub fn size(name: &str) -> u64 {
    let (mut size, mut waiting) = (0, vec![paths::volume(name)]);
    // However deep a container has made it.
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => size += metadata.len(),
                Err(_) => {}
            }
        }
    }
    size
}

/// Every volume of the host, by name.
///
/// # Errors
/// When the caller may not read the records.
pub fn list() -> Result<Vec<Shown>, Error> {
    root()?;
    let mut users: BTreeMap<String, Vec<User>> = BTreeMap::new();
    let mut shown = Vec::new();
    for stack in paths::stacks() {
        let folders = StackPaths::new(&stack);
        let volumes =
            records::read::<StackRecord>(&folders.record()).map(|record| record.volumes).unwrap_or_default();
        for container in ContainerRecord::all(&folders) {
            let user = User {
                stack: stack.clone(),
                service: container.service.name.clone(),
                container: container.name.clone(),
            };
            for volume in container.service.named_volumes().filter_map(|key| volumes.get(key)) {
                users.entry(volume.name.clone()).or_default().push(user.clone());
            }
            shown.extend(anonymous(&folders, &container, &user));
        }
    }
    shown.extend(all().into_iter().map(|volume| {
        let place = match device(&volume) {
            Some(_) => devices::place(&volume.name),
            None => paths::volume(&volume.name),
        };
        let mut users = users.remove(&volume.name).unwrap_or_default();
        users.extend(volume.left.iter().flat_map(Left::users));
        users.sort();
        users.dedup();
        Shown { anonymous: volume.labels.contains_key(ANONYMOUS), place, users, volume }
    }));
    shown.sort_by(|a, b| a.volume.name.cmp(&b.volume.name));
    Ok(shown)
}

/// The containers that have a volume of this name, in stacks other than this one.
pub(crate) fn used_elsewhere(name: &str, own: &str) -> Vec<String> {
    let others = paths::stacks().into_iter().filter(|stack| stack != own);
    let users = others.flat_map(|stack| {
        let folders = StackPaths::new(&stack);
        let volumes =
            records::read::<StackRecord>(&folders.record()).map(|record| record.volumes).unwrap_or_default();
        let has_it = move |container: &ContainerRecord| {
            container
                .service
                .named_volumes()
                .any(|key| volumes.get(key).is_some_and(|volume| volume.name == name))
        };
        ContainerRecord::all(&folders).filter(has_it).map(|container| container.name).collect::<Vec<_>>()
    });
    users.collect()
}

/// The volumes without a name that a container has.
fn anonymous(folders: &StackPaths, container: &ContainerRecord, user: &User) -> Vec<Shown> {
    let folder = folders.container(&container.name);
    let mounts = container.service.mounts.iter().filter(|mount| mount.kind == MountKind::Anonymous);
    let made = mounts.filter_map(|mount| {
        let place = folder.anonymous(&mount.target);
        place.is_dir().then(|| Shown {
            volume: HostVolume {
                name: left::name(container, &mount.target),
                created: container.created,
                labels: mount.options.labels.clone(),
                driver_opts: BTreeMap::new(),
                of: None,
                left: None,
            },
            place,
            anonymous: true,
            users: vec![user.clone()],
        })
    });
    made.collect()
}
