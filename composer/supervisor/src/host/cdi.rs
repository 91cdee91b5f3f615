//! Devices that their vendors describe on the host: the Container Device Interface (SPEC.md of its project), by which
//! NVIDIA's, AMD's and Intel's tools say what a program needs to use them.
//!
//! The types are ours: the crate of the project brings an archived YAML reader, a schema checker with an HTTP client, and
//! a command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::{DeviceRequest, Requested, one_line};
use serde::Deserialize;

/// Where descriptions are; a later folder's device takes the place of an earlier one's.
const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// What is meant where several vendors describe devices of a class and no driver is named; as Docker has it.
const NVIDIA: &str = "nvidia.com/gpu";

/// A file of descriptions. What we know nothing of is refused: it would be missed by the programs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    kind: String,
    devices: Vec<Described>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What is changed of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Edits {
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Nodes that it gets.
    pub device_nodes: Vec<DeviceNode>,
    /// Files and folders that it gets.
    pub mounts: Vec<Mount>,
    /// Programs of the host's that prepare it.
    pub hooks: Vec<Hook>,
    /// Further groups of its programs.
    pub additional_gids: Vec<u32>,
    net_devices: Vec<serde_json::Value>,
    intel_rdt: Option<serde_json::Value>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceNode {
    /// In the container.
    pub path: PathBuf,
    /// On the host, where it has another path there.
    pub host_path: Option<PathBuf>,
    /// `r`, `w` and `m`: all of them where absent.
    pub permissions: Option<String>,
    /// Its permission bits, where they are not those of the host's node.
    pub file_mode: Option<u32>,
    /// Its owner, likewise.
    pub uid: Option<u32>,
    /// Its group, likewise.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// On the host.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: String,
    /// As those of mount(8).
    #[serde(default)]
    pub options: Vec<String>,
}

/// A program of the host's, as OCI's runtime specification has its hooks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    hook_name: String,
    /// The program.
    pub path: PathBuf,
    /// Its arguments, beginning with its name.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its whole environment, `NAME=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds after which it is ended.
    pub timeout: Option<u32>,
}

/// All that the host's vendors describe.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// By kind, `VENDOR/CLASS`, and by name.
    kinds: BTreeMap<String, BTreeMap<String, Edits>>,
    /// Files that could not be read, and why.
    unread: Vec<String>,
}

/// What requests ask for.
///
/// # Errors
/// Why they cannot be had.
pub fn edits(requests: &[DeviceRequest]) -> Result<Edits, (Vec<String>, String)> {
    let mut edits = Edits::default();
    if requests.is_empty() {
        return Ok(edits);
    }
    let catalogue = Catalogue::of_host();
    for request in requests {
        let found = catalogue.edits(request).map_err(|why| (request.at.clone(), why))?;
        found.into_iter().for_each(|found| edits.extend(found));
    }
    Ok(edits)
}

/// Looks whether a request can be answered.
///
/// # Errors
/// Why not.
pub fn look(request: &DeviceRequest) -> Result<(), String> {
    edits(std::slice::from_ref(request)).map(drop).map_err(|(_, why)| why)
}

impl Catalogue {
    /// Reads the host's.
    pub fn of_host() -> Self {
        Self::read(&FOLDERS.map(Path::new))
    }

    /// The kinds of devices, and how many there are of each.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, usize)> {
        self.kinds.iter().map(|(kind, devices)| (kind.as_str(), numbered(devices).len()))
    }

    /// Files that could not be read, and why.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    fn read(folders: &[&Path]) -> Self {
        let mut catalogue = Self::default();
        for folder in folders {
            let mut files: Vec<PathBuf> =
                fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            files.sort();
            // Of one folder none goes before another: a device that is described twice is not described.
            let mut here: BTreeMap<(String, String), Option<Edits>> = BTreeMap::new();
            for file in files {
                match description(&file) {
                    None => {}
                    Some(Err(why)) => catalogue.unread.push(format!("{}: {why}", file.display())),
                    Some(Ok(description)) => {
                        let Description { kind, devices, container_edits: common } = description;
                        for device in devices {
                            let mut edits = common.clone();
                            edits.extend(device.container_edits);
                            let key = (kind.clone(), device.name);
                            if let Some(other) = here.get_mut(&key) {
                                catalogue.unread.push(format!(
                                    "{}: {}={} is described twice",
                                    file.display(),
                                    key.0,
                                    key.1
                                ));
                                *other = None;
                            } else {
                                here.insert(key, Some(edits));
                            }
                        }
                    }
                }
            }
            for ((kind, name), edits) in here {
                if let Some(edits) = edits {
                    catalogue.kinds.entry(kind).or_default().insert(name, edits);
                }
            }
        }
        catalogue
    }

    fn edits(&self, request: &DeviceRequest) -> Result<Vec<Edits>, String> {
        let whole = |name: &String| match name.split_once('=') {
            Some((kind, name)) => self.one(kind, name),
            None => Err(self.none(name)),
        };
        match &request.which {
            Requested::Whole(names) => names.iter().map(whole).collect(),
            Requested::Count(0) => Ok(Vec::new()),
            which => self.of_kind(self.kind(request)?, which),
        }
    }

    fn of_kind(&self, kind: &str, which: &Requested) -> Result<Vec<Edits>, String> {
        let devices = &self.kinds[kind];
        let all = numbered(devices);
        match which {
            Requested::Named(names) => names.iter().map(|name| self.one(kind, name)).collect(),
            Requested::Count(count) => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                if count > all.len() {
                    return Err(format!(
                        "{count} devices of `{kind}` are asked for, and there are {}",
                        all.len()
                    ));
                }
                all.iter().take(count).map(|name| self.one(kind, name)).collect()
            }
            Requested::All | Requested::Whole(_) if devices.contains_key(ALL) => {
                Ok(vec![self.one(kind, ALL)?])
            }
            Requested::All | Requested::Whole(_) => all.iter().map(|name| self.one(kind, name)).collect(),
        }
    }

    /// Whose devices a request means: their class is one of its capabilities. `nvidia` is what Docker's driver calls a GPU
    /// of theirs too.
    fn kind(&self, request: &DeviceRequest) -> Result<&str, String> {
        let is_meant = |kind: &&String| {
            kind.split_once('/').is_some_and(|(vendor, class)| {
                let is_of =
                    |driver: &String| vendor == driver || vendor.split('.').next() == Some(driver.as_str());
                let can = |what: &str| request.capabilities.iter().any(|capability| capability == what);
                request.driver.as_ref().is_none_or(is_of)
                    && (can(class) || kind.as_str() == NVIDIA && can("nvidia"))
            })
        };
        let kinds: Vec<&str> = self.kinds.keys().filter(is_meant).map(String::as_str).collect();
        let what = request.capabilities.join("`, `");
        match (kinds.as_slice(), kinds.iter().find(|kind| **kind == NVIDIA)) {
            ([kind], _) | (_, Some(kind)) => Ok(kind),
            ([], None) => {
                let driver =
                    request.driver.as_ref().map_or_else(String::new, |driver| format!(" of `{driver}`"));
                Err(self.none(&format!("a device{driver} that can do `{what}`")))
            }
            (several, None) => {
                let several = several.join(", ");
                Err(format!(
                    "several vendors have devices that can do `{what}`, and no `driver` is named: {several}"
                ))
            }
        }
    }

    fn one(&self, kind: &str, name: &str) -> Result<Edits, String> {
        let found = self.kinds.get(kind).and_then(|devices| devices.get(name));
        let edits = found.ok_or_else(|| self.none(&format!("{kind}={name}")))?;
        let stranger = match edits {
            Edits { net_devices, .. } if !net_devices.is_empty() => Some("network devices".to_owned()),
            Edits { intel_rdt: Some(_), .. } => Some("Intel's RDT".to_owned()),
            edits => {
                let other = edits.hooks.iter().find(|hook| hook.hook_name != "createContainer");
                other.map(|hook| format!("a hook of the kind `{}`", hook.hook_name))
            }
        };
        match stranger {
            Some(what) => {
                Err(format!("the description of {kind}={name} has {what}, which compose cannot do"))
            }
            None => Ok(edits.clone()),
        }
    }

    fn none(&self, what: &str) -> String {
        let unread =
            if self.unread.is_empty() { String::new() } else { format!("; {}", self.unread.join("; ")) };
        format!("no file in {} describes {what}{unread}", FOLDERS.join(" or "))
    }
}

/// The device that stands for all of its kind.
const ALL: &str = "all";

/// Each device once: where it has a number as one of its names, by that; the least first.
fn numbered(devices: &BTreeMap<String, Edits>) -> Vec<&str> {
    let numbers: BTreeSet<(u64, &str)> =
        devices.keys().filter_map(|name| Some((name.parse().ok()?, name.as_str()))).collect();
    if numbers.is_empty() {
        return devices.keys().map(String::as_str).filter(|name| *name != ALL).collect();
    }
    numbers.into_iter().map(|(_, name)| name).collect()
}

/// `None` for a file that is none of descriptions.
fn description(file: &Path) -> Option<Result<Description, String>> {
    let is_json = match file.extension()?.to_str()? {
        "json" => true,
        "yaml" | "yml" => false,
        _ => return None,
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Some(Err(error.to_string())),
    };
    let description = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())
    };
    Some(description.map_err(|error| one_line(&error)))
}

impl Edits {
    fn extend(&mut self, other: Self) {
        // What all devices of a file need comes with each of them.
        fn add<T: PartialEq>(to: &mut Vec<T>, from: Vec<T>) {
            for item in from {
                if !to.contains(&item) {
                    to.push(item);
                }
            }
        }
        add(&mut self.env, other.env);
        add(&mut self.device_nodes, other.device_nodes);
        add(&mut self.mounts, other.mounts);
        add(&mut self.hooks, other.hooks);
        add(&mut self.additional_gids, other.additional_gids);
        self.net_devices.extend(other.net_devices);
        self.intel_rdt = self.intel_rdt.take().or(other.intel_rdt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(driver: Option<&str>, which: Requested) -> DeviceRequest {
        DeviceRequest {
            at: Vec::new(),
            driver: driver.map(str::to_owned),
            capabilities: vec!["gpu".to_owned()],
            which,
        }
    }

    fn paths(edits: &[Edits]) -> Vec<&str> {
        edits.iter().flat_map(|edits| &edits.device_nodes).filter_map(|node| node.path.to_str()).collect()
    }

    #[test]
    fn devices_are_found_by_driver_number_and_name() {
        let folder = std::env::temp_dir().join(format!("compose-cdi-{}", std::process::id()));
        let (early, late) = (folder.join("early"), folder.join("late"));
        let write = |folder: &Path, name: &str, kind: &str, names: &[&str]| {
            fs::create_dir_all(folder).unwrap();
            let device = |name: &&str| {
                let path = format!("/dev/{}-{name}", folder.file_name().unwrap().display());
                serde_json::json!({"name": name, "containerEdits": {"deviceNodes": [{"path": path}]}})
            };
            let devices: Vec<_> = names.iter().map(device).collect();
            let text = serde_json::json!({"cdiVersion": "0.6.0", "kind": kind, "devices": devices});
            fs::write(folder.join(name), text.to_string()).unwrap();
        };
        // Ten devices, of which one has two names.
        let numbers: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let mut names: Vec<&str> = numbers.iter().map(String::as_str).collect();
        names.push("GPU-x");
        write(&early, "a.json", "nvidia.com/gpu", &names);
        write(&late, "b.yaml", "nvidia.com/gpu", &["2"]);
        write(&late, "c.json", "intel.com/gpu", &["card", "twice"]);
        write(&late, "d.json", "intel.com/gpu", &["twice"]);
        write(&late, "e.txt", "other.com/gpu", &["0"]);
        let catalogue = Catalogue::read(&[&early, &late]);
        fs::remove_dir_all(&folder).unwrap();

        let of = |driver, which| catalogue.edits(&request(driver, which));
        assert_eq!(
            paths(&of(None, Requested::Count(3)).unwrap()),
            ["/dev/early-0", "/dev/early-1", "/dev/late-2"]
        );
        assert_eq!(paths(&of(Some("nvidia"), Requested::All).unwrap()).len(), 10);
        assert_eq!(paths(&of(Some("intel.com"), Requested::All).unwrap()), ["/dev/late-card"]);
        let nvidia =
            DeviceRequest { capabilities: vec!["nvidia".to_owned()], ..request(None, Requested::Count(1)) };
        assert_eq!(paths(&catalogue.edits(&nvidia).unwrap()), ["/dev/early-0"]);
        let named = Requested::Named(vec!["GPU-x".to_owned()]);
        assert_eq!(paths(&of(None, named).unwrap()), ["/dev/early-GPU-x"]);
        assert_eq!(of(None, Requested::Count(0)).unwrap(), []);
        assert!(of(None, Requested::Count(11)).unwrap_err().contains("and there are 10"));
        assert!(of(Some("other"), Requested::All).unwrap_err().contains("of `other` that can do `gpu`"));
        let twice = of(Some("cdi"), Requested::Whole(vec!["intel.com/gpu=twice".to_owned()])).unwrap_err();
        assert!(twice.contains("d.json: intel.com/gpu=twice is described twice"), "{twice}");
    }

    #[test]
    fn what_compose_cannot_do_is_named() {
        let edits = |json: &str| Edits { ..serde_json::from_str(json).unwrap() };
        let hook = r#"{"hooks": [{"hookName": "poststop", "path": "/x"}]}"#;
        for (json, what) in [
            (r#"{"netDevices": [{}]}"#, "network devices"),
            (r#"{"intelRdt": {}}"#, "Intel's RDT"),
            (hook, "a hook of the kind `poststop`"),
        ] {
            let devices = BTreeMap::from([("0".to_owned(), edits(json))]);
            let kinds = BTreeMap::from([("a/b".to_owned(), devices)]);
            let why = Catalogue { kinds, unread: Vec::new() }.one("a/b", "0").unwrap_err();
            assert!(why.contains(what), "{why}");
        }
    }
}
