//! Devices: their paths and rules, and those that their vendor describes.

use super::project::{Named, Project};
use crate::devices::{qualified, requests};
use crate::diagnostic::Report;
use crate::options::HostFacts;
use crate::yaml::Node;

/// What devices by themselves may not be.
pub(super) fn each(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        for (device, _) in requests(service.node()) {
            if let (Some(count), Some(ids)) = (device.get("count"), device.get("device_ids")) {
                report
                    .error(ids.span, "a device has both `count` and `device_ids`")
                    .help("keep one of them")
                    .also(count.span, "the other one");
            }
        }
    }
}

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    let host = project.options.host.as_ref();
    for service in project.services() {
        nodes(service, host, report);
        described(service, host, report);
    }
}

fn described(service: Named<'_>, host: Option<&HostFacts>, report: &mut Report) {
    for (node, request) in requests(service.node()) {
        if node.get("count").is_some() && node.get("device_ids").is_some() {
            // Refused already.
            continue;
        }
        let looked = host.and_then(|host| host.described).map(|look| look(&request));
        if let Some(Err(why)) = looked {
            report.error(node.span, why).help(
                "`compose doctor` lists what is described; a vendor's tool describes its devices: `nvidia-ctk cdi generate \
                 --output=/etc/cdi/nvidia.yaml`",
            );
        }
    }
}

fn nodes(service: Named<'_>, host: Option<&HostFacts>, report: &mut Report) {
    for device in service.list("devices") {
        paths(device, host, report);
        if let Some(node) = device.get("permissions")
            && let Some(text) = node.text_value().filter(|text| !is_permissions(text))
        {
            report
                .error(node.span, format!("`{text}` is not what may be done with a device"))
                .help("`r` reads, `w` writes and `m` makes it: `rw`, `rwm`");
        }
    }
    for rule in service.list("device_cgroup_rules") {
        let Some(text) = rule.text_value() else { continue };
        match numbers(text) {
            None => {
                report
                    .error(rule.span, format!("`{text}` is not a rule for devices"))
                    .help("type, numbers and permissions: `c 1:3 rwm`, `b 8:* r`, `a *:* rwm`");
            }
            Some(numbers) => {
                let which = [("first", MOST_MAJOR), ("second", MOST_MINOR)];
                for (number, (place, most)) in numbers.into_iter().zip(which) {
                    if number != "*" && number.parse::<u32>().map_or(true, |number| number > most) {
                        report
                            .error(rule.span, format!("no device has {number} as its {place} number"))
                            .help(format!("the greatest {place} number is {most}; `*` is any"));
                    }
                }
            }
        }
    }
}

/// Where a device is, on the host and in the container.
fn paths(device: &Node, host: Option<&HostFacts>, report: &mut Report) {
    let (source, target) = (device.get("source"), device.get("target"));
    let text = |node: Option<&Node>| node.and_then(Node::text_value).unwrap_or_default().to_owned();
    if source.and_then(qualified).is_some() {
        if let Some(target) = target.filter(|_| text(source) != text(target)) {
            report
                .error(
                    target.span,
                    format!("where `{}` is in the container is its vendor's to say", text(source)),
                )
                .help("remove the path");
        }
        return;
    }
    for node in source.into_iter().chain(target.filter(|_| text(source) != text(target))) {
        let path = text(Some(node));
        if !path.is_empty() && !path.starts_with('/') {
            report
                .error(node.span, format!("`{path}` is not the path of a device"))
                .help("a path begins with `/`: `/dev/ttyUSB0`");
        }
    }
    let look = host.and_then(|host| host.device);
    if let (Some(source), Some(look)) = (source.filter(|node| text(Some(node)).starts_with('/')), look)
        && let Err(why) = look(&text(Some(source)))
    {
        report
            .error(source.span, format!("the device {}: {why}", text(Some(source))))
            .help("`ls -l` shows a device with `c` or `b` before its permissions");
    }
}

fn is_permissions(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'))
}

/// The greatest numbers of a device: 12 bits and 20 (linux/kdev_t.h). The kernel takes greater ones in a rule, of which
/// the greatest is any (`devcgroup_update_access`).
const MOST_MAJOR: u32 = (1 << 12) - 1;
const MOST_MINOR: u32 = (1 << 20) - 1;

/// Both numbers of a rule; `None` where it is none.
fn numbers(rule: &str) -> Option<[&str; 2]> {
    let words: Vec<&str> = rule.split(' ').collect();
    let [kind, numbers, permissions] = words.as_slice() else {
        return None;
    };
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let good =
        matches!(*kind, "a" | "b" | "c") && number(major) && number(minor) && is_permissions(permissions);
    good.then_some([major, minor])
}
