//! Devices by their vendor's description: what asks for them, and names of the Container Device Interface (its
//! SPEC.md).

use crate::model::{DeviceRequest, Requested};
use crate::values;
use crate::yaml::Node;

/// The driver whose devices have whole names.
const CDI: &str = "cdi";

/// What a service asks for, each with its place: items of `gpus`, of `deploy.resources.reservations.devices`, and of
/// `devices` those that are such names.
pub(crate) fn requests(service: &Node) -> Vec<(&Node, DeviceRequest)> {
    let lists: [&[&str]; 2] = [&["gpus"], &["deploy", "resources", "reservations", "devices"]];
    let mut requests = Vec::new();
    for path in lists {
        for (place, item) in items(service, path) {
            requests.push((item, request(item, at(path, place))));
        }
    }
    for (place, item) in items(service, &["devices"]) {
        // With a path of its own in the container it is refused.
        let whole =
            |source: &&Node| qualified(source).is_some() && values::text(Some(source)) == target(item);
        if let Some(source) = item.get("source").filter(whole) {
            let names = values::text(Some(source)).into_iter().collect();
            let at = at(&["devices"], place);
            requests.push((
                source,
                DeviceRequest {
                    at,
                    driver: Some(CDI.to_owned()),
                    capabilities: Vec::new(),
                    which: Requested::Whole(names),
                },
            ));
        }
    }
    requests
}

/// Whether an item of `devices` is a name of that kind: `VENDOR/CLASS=NAME`.
pub(crate) fn qualified(source: &Node) -> Option<(&str, &str, &str)> {
    let (kind, name) = source.text_value()?.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    // A path begins with `/`.
    (!vendor.is_empty() && !class.is_empty() && !name.is_empty()).then_some((vendor, class, name))
}

fn target(device: &Node) -> Option<String> {
    values::text(device.get("target").or_else(|| device.get("source")))
}

fn items<'a>(service: &'a Node, path: &[&str]) -> impl Iterator<Item = (usize, &'a Node)> + use<'a> {
    let list = path.iter().try_fold(service, |node, key| node.get(key));
    list.map(Node::items).unwrap_or_default().iter().enumerate()
}

fn at(path: &[&str], place: usize) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).chain([place.to_string()]).collect()
}

fn request(item: &Node, at: Vec<String>) -> DeviceRequest {
    let driver = values::text(item.get("driver")).filter(|driver| !driver.is_empty());
    let names = item.get("device_ids").and_then(values::texts);
    let count = item.get("count").and_then(values::whole).and_then(|count| u64::try_from(count).ok());
    let which = match (names, count) {
        (Some(names), _) if driver.as_deref() == Some(CDI) => Requested::Whole(names),
        (Some(names), _) => Requested::Named(names),
        (None, Some(count)) => Requested::Count(count),
        // -1, also where nothing is said.
        (None, None) => Requested::All,
    };
    let mut capabilities = item.get("capabilities").and_then(values::texts).unwrap_or_default();
    if at[0] == "gpus" && !capabilities.iter().any(|capability| capability == "gpu") {
        capabilities.push("gpu".to_owned());
    }
    DeviceRequest { at, driver, capabilities, which }
}
