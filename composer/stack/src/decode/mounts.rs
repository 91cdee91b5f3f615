//! `volumes` and `tmpfs` of a service, short and long syntax.

use super::Context;
use super::fields::{Fields, bad_value, boolean, bytes, string, text, wrong_type};
use super::project::{At, Extensions, Mount, MountKind, Tmpfs};
use crate::diagnostic::Report;
use crate::yaml::{Node, Resolved, Value};
use crate::{keys, size};

/// The target in a mount's short syntax: `SOURCE:TARGET:OPTIONS`, `SOURCE:TARGET` or `TARGET`.
pub(crate) fn short_target(text: &str) -> &str {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or("");
    parts.next().unwrap_or(first)
}

/// Decodes one item of `volumes`.
pub(super) fn volume(node: &Node, context: &Context<'_>, report: &mut Report) -> Option<At<Mount>> {
    let mount = match &node.value {
        Value::Scalar(_) => short(node, context, report)?,
        Value::Map(_) => long(node, context, report)?,
        Value::List(_) => {
            wrong_type("volumes", "a string or a mapping", node, report);
            return None;
        }
    };
    if !mount.target.starts_with('/') {
        let message = format!("`{}` must be an absolute path inside the container", mount.target);
        bad_value(node, message, report).help("short syntax is `SOURCE:TARGET` or `SOURCE:TARGET:ro`");
        return None;
    }
    Some(At { value: mount, span: node.span })
}

fn short(node: &Node, context: &Context<'_>, report: &mut Report) -> Option<Mount> {
    let text = string("volumes", node, report)?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => {
            bad_value(node, format!("`{text}` has too many `:`"), report)
                .help("write `SOURCE:TARGET:OPTIONS`");
            return None;
        }
    };
    if source == Some("") || target.is_empty() {
        bad_value(node, format!("`{text}` lacks a source or a target"), report).help("write `SOURCE:TARGET`");
        return None;
    }
    let (mut read_only, mut selinux, mut nocopy) = (false, None, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "cached" | "delegated" | "consistent" => {}
            "z" => selinux = Some('z'),
            "Z" => selinux = Some('Z'),
            "nocopy" => nocopy = true,
            "shared" | "slave" | "private" | "rshared" | "rslave" | "rprivate" | "U" => {
                bad_value(node, format!("the mount option `{option}` is not supported yet"), report);
            }
            _ => {
                let message = format!("`{option}` is not a mount option");
                bad_value(node, message, report).help("`ro`, `rw`, `z` and `Z` are");
            }
        }
    }
    let kind = match source {
        Some(source) if source.starts_with(['.', '/', '~']) => {
            MountKind::Bind { source: context.path(source), create_host_path: true, selinux, options: true }
        }
        source => MountKind::Volume { source: source.map(str::to_owned), nocopy, options: true },
    };
    Some(Mount { target: target.to_owned(), read_only, kind, extensions: Extensions::new() })
}

fn long(node: &Node, context: &Context<'_>, report: &mut Report) -> Option<Mount> {
    let mut fields = Fields::open("volumes", node, report)?;
    let kind = fields.take("type");
    let source = fields.with("source", report, string);
    let target = fields.with("target", report, string);
    let read_only = fields.with("read_only", report, boolean).unwrap_or(false);
    fields.with("consistency", report, string);
    let kind_text = kind.map(|entry| string("type", &entry.node, report));
    let kind = match (kind_text.as_ref().map(Option::as_deref), kind) {
        (Some(Some("bind")), _) => {
            let mut create = false;
            let mut selinux = None;
            let entry = fields.take("bind");
            if let Some(mut bind) = entry.and_then(|entry| Fields::open("bind", &entry.node, report)) {
                create = bind.with("create_host_path", report, boolean).unwrap_or(true);
                let label = bind.with("selinux", report, string);
                selinux = label.and_then(|label| label.chars().next()).filter(|c| matches!(c, 'z' | 'Z'));
                bind.finish("`bind`", keys::MOUNT_BIND, report);
            }
            match &source {
                Some(source) => Some(MountKind::Bind {
                    source: context.path(source),
                    create_host_path: create,
                    selinux,
                    options: entry.is_some(),
                }),
                None => {
                    report.error(node.span, "a bind mount needs a `source`");
                    None
                }
            }
        }
        (Some(Some("volume")), _) => {
            let mut nocopy = false;
            let entry = fields.take("volume");
            if let Some(mut volume) = entry.and_then(|entry| Fields::open("volume", &entry.node, report)) {
                nocopy = volume.with("nocopy", report, boolean).unwrap_or(false);
                volume.finish("`volume`", keys::MOUNT_VOLUME, report);
            }
            Some(MountKind::Volume { source, nocopy, options: entry.is_some() })
        }
        (Some(Some("tmpfs")), _) => {
            let (mut size, mut mode) = (None, None);
            let entry = fields.take("tmpfs");
            if let Some(mut tmpfs) = entry.and_then(|entry| Fields::open("tmpfs", &entry.node, report)) {
                size = tmpfs.with("size", report, bytes).map(|at| at.value);
                mode = tmpfs.with("mode", report, permissions);
                tmpfs.finish("`tmpfs`", keys::MOUNT_TMPFS, report);
            }
            Some(MountKind::Tmpfs { size, mode, options: entry.is_some() })
        }
        (Some(Some(other)), Some(entry)) => {
            let known = ["npipe", "cluster", "image"].contains(&other);
            if known {
                report.error(entry.node.span, format!("mounts of type `{other}` are not supported yet"));
            } else {
                report
                    .error(entry.node.span, format!("`{other}` is not a type of mount"))
                    .help("`bind`, `volume` and `tmpfs` are");
            }
            None
        }
        (None, _) => {
            report.error(node.span, "a mount needs a `type`").help("`bind`, `volume` or `tmpfs`");
            None
        }
        (Some(None), _) | (Some(Some(_)), None) => None,
    };
    let extensions = fields.finish("a mount", keys::MOUNT, report);
    let Some(target) = target else {
        report.error(node.span, "a mount needs a `target`");
        return None;
    };
    Some(Mount { target, read_only, kind: kind?, extensions })
}

/// Permission bits: a number in the file is octal when it begins with 0, a string always is.
fn permissions(name: &str, node: &Node, report: &mut Report) -> Option<u32> {
    let value = match &node.value {
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Int(value) => u32::try_from(value).ok(),
            Resolved::Text(text) => octal(text),
            Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => None,
        },
        Value::List(_) | Value::Map(_) => None,
    };
    let value = value.filter(|mode| *mode <= 0o7777);
    if value.is_none() {
        bad_value(node, format!("`{name}` must be permission bits"), report)
            .help("write them in octal: `0755`");
    }
    value
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let all_octal = !digits.is_empty() && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    all_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
}

/// Decodes one item of `tmpfs`: `PATH` or `PATH:size=64m,mode=1770`.
pub(super) fn tmpfs(node: &Node, report: &mut Report) -> Option<At<Tmpfs>> {
    let text = text("tmpfs", node, report)?;
    let (target, options) = text.split_once(':').unwrap_or((&text, ""));
    let mut out =
        Tmpfs { text: text.clone(), target: target.to_owned(), read_only: false, size: None, mode: None };
    if !target.starts_with('/') {
        bad_value(node, format!("`{target}` must be an absolute path inside the container"), report);
        return None;
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let understood = match key {
            "size" => {
                out.size = size::parse(value);
                out.size.is_some()
            }
            "mode" => {
                out.mode = octal(value).filter(|mode| *mode <= 0o7777);
                out.mode.is_some()
            }
            "ro" => {
                out.read_only = true;
                true
            }
            // What every tmpfs of a container has.
            "rw" | "noexec" | "nosuid" | "nodev" => true,
            _ => {
                let message = format!("the tmpfs option `{key}` is not supported yet");
                bad_value(node, message, report).help("`size=` and `mode=` are");
                continue;
            }
        };
        if !understood {
            let message = format!("`{value}` is not a {key} of a tmpfs");
            bad_value(node, message, report).help("for example `/run:size=64m,mode=1770`");
        }
    }
    Some(At { value: out, span: node.span })
}
