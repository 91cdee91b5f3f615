//! One entry under `services:`.

use std::collections::BTreeMap;

use super::fields::{
    Fields, at, bad_value, boolean, count, duration, expect_list, expect_map, labels, pairs, string,
    string_at, strings, wrong_type,
};
use super::project::{At, Build, Dependency, Service, ServiceNetworks};
use super::{Context, environment, healthcheck, limits, mounts};
use crate::diagnostic::Report;
use crate::model::{Condition, Rootfs};
use crate::suggest::nearest;
use crate::yaml::{Entry, Node, Resolved, Value};
use crate::{keys, signal, words};

/// Decodes the service `name`.
pub(super) fn decode(
    name: &str,
    entry: &Entry,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Service> {
    let mut fields = Fields::open(name, &entry.node, report)?;
    let f = &mut fields;
    let (env_file, own) = (f.take("env_file"), f.take("environment"));
    let volumes = f.take("volumes");
    let tmpfs = f.take("tmpfs");
    let mut service = Service {
        key: entry.key,
        borrows: entry
            .node
            .as_map()
            .is_some_and(|map| map.contains_key("extends") || map.contains_key("provider")),
        attach: f.with("attach", report, boolean),
        build: f.with("build", report, |name, node, report| build(name, node, context, report)),
        command: f.with("command", report, command),
        container_name: f.with("container_name", report, container_name),
        depends_on: f.with("depends_on", report, depends_on).unwrap_or_default(),
        deploy: f.with("deploy", report, limits::deploy),
        domainname: f.with("domainname", report, domainname).flatten(),
        entrypoint: f.with("entrypoint", report, command),
        environment: environment::decode(env_file, own, context, report),
        healthcheck: f.with("healthcheck", report, healthcheck::decode),
        hostname: f.with("hostname", report, hostname),
        image: f.with("image", report, string_at),
        init: f.with("init", report, boolean),
        labels: f.with("labels", report, labels).unwrap_or_default(),
        limits: limits::service(f, report),
        networks: f.with("networks", report, networks).unwrap_or_default(),
        read_only: f.with("read_only", report, boolean).unwrap_or(false),
        restart: f.with("restart", report, restart),
        rootfs: f.with("x-rootfs", report, |name, node, report| rootfs(name, node, context, report)),
        scale: f.with("scale", report, count),
        stdin_open: f.with("stdin_open", report, boolean).unwrap_or(false),
        stop_grace_period: f.with("stop_grace_period", report, duration),
        stop_signal: f.with("stop_signal", report, stop_signal),
        tmpfs: Vec::new(),
        tty: f.with("tty", report, boolean).unwrap_or(false),
        user: f.with("user", report, user),
        volumes: Vec::new(),
        working_dir: f.with("working_dir", report, working_dir),
        extensions: Default::default(),
    };
    for item in volumes.and_then(|entry| expect_list("volumes", &entry.node, report)).into_iter().flatten() {
        service.volumes.extend(mounts::volume(item, context, report));
    }
    for item in tmpfs.and_then(|entry| expect_list("tmpfs", &entry.node, report)).into_iter().flatten() {
        service.tmpfs.extend(mounts::tmpfs(item, report));
    }
    service.extensions = fields.finish(&format!("service `{name}`"), keys::SERVICE, report);
    Some(service)
}

/// Words; a string is split as a shell would. Null leaves the image's own.
fn command(name: &str, node: &Node, report: &mut Report) -> Option<At<Vec<String>>> {
    match &node.value {
        Value::List(_) => strings(name, node, report).map(|words| at(node, words)),
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => None,
            Resolved::Text(text) => {
                let words = words::split(text);
                if words.is_none() {
                    bad_value(node, format!("`{name}` has a quote that is never closed"), report)
                        .help("close it, or write a list: `[\"sh\", \"-c\", \"...\"]`");
                }
                words.map(|words| at(node, words))
            }
            Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => {
                wrong_type(name, "a string or a list", node, report);
                None
            }
        },
        Value::Map(_) => {
            wrong_type(name, "a string or a list", node, report);
            None
        }
    }
}

fn build(name: &str, node: &Node, context: &Context<'_>, report: &mut Report) -> Option<At<Build>> {
    let folder = |text: String| {
        if text.contains("://") || text.starts_with("git@") {
            text
        } else {
            context.path(&text).display().to_string()
        }
    };
    if let Value::Scalar(_) = &node.value {
        let context = Some(folder(string(name, node, report)?));
        return Some(at(node, Build { context, ..Build::default() }));
    }
    let mut fields = Fields::open(name, node, report)?;
    let text = fields.with("context", report, string).unwrap_or_else(|| ".".to_owned());
    let args = fields.with("args", report, pairs).unwrap_or_default();
    let build = Build {
        context: Some(folder(text)),
        dockerfile: fields.with("dockerfile", report, string),
        dockerfile_inline: fields.with("dockerfile_inline", report, string),
        args: args
            .into_iter()
            .map(|(key, at)| {
                let value = at.value.or_else(|| context.variables.get(&key).map(str::to_owned));
                (key, value)
            })
            .collect(),
        labels: fields.with("labels", report, labels).unwrap_or_default(),
        target: fields.with("target", report, string),
        extensions: fields.finish("`build`", keys::BUILD, report),
    };
    Some(at(node, build))
}

fn container_name(name: &str, node: &Node, report: &mut Report) -> Option<At<String>> {
    let text = string_at(name, node, report)?;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let good = text.value.len() > 1
        && text.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.value.chars().all(inner);
    if !good {
        bad_value(node, format!("`{}` is not a container name", text.value), report)
            .help("two or more letters, digits, `_`, `.` and `-`, beginning with a letter or digit");
    }
    good.then_some(text)
}

fn depends_on(name: &str, node: &Node, report: &mut Report) -> Option<BTreeMap<String, Dependency>> {
    if let Value::List(items) = &node.value {
        for item in items.iter().filter(|item| item.is_null() || !matches!(item.value, Value::Scalar(_))) {
            let message = format!("an item of `depends_on` must be a service's name, not {}", item.kind());
            report.error(item.span, message).help("with conditions, leave the dashes away");
        }
        return None;
    }
    let mut out = BTreeMap::new();
    for (service, entry) in expect_map(name, node, report)? {
        let Some(mut fields) = Fields::open(service, &entry.node, report) else {
            continue;
        };
        let condition = fields.take("condition");
        if condition.is_none() {
            report
                .error(entry.key, format!("`depends_on.{service}` needs a `condition`"))
                .help("`condition: service_started`");
        }
        let condition = condition.and_then(|entry| decode_condition(&entry.node, report));
        let required = fields.with("required", report, boolean).unwrap_or(true);
        let restart = fields.with("restart", report, boolean).unwrap_or(false);
        fields.finish("an entry of `depends_on`", keys::DEPENDENCY, report);
        let condition = condition.unwrap_or(Condition::Started);
        out.insert(service.clone(), Dependency { key: entry.key, condition, required, restart });
    }
    Some(out)
}

fn decode_condition(node: &Node, report: &mut Report) -> Option<Condition> {
    const KNOWN: [(&str, Condition); 3] = [
        ("service_started", Condition::Started),
        ("service_healthy", Condition::Healthy),
        ("service_completed_successfully", Condition::CompletedSuccessfully),
    ];
    let text = string("condition", node, report)?;
    let known = KNOWN.iter().find(|(name, _)| *name == text);
    if known.is_none() {
        let help = match nearest(&text, KNOWN.map(|(name, _)| name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "`service_started`, `service_healthy` and `service_completed_successfully` are".to_owned()
            }
        };
        bad_value(node, format!("`{text}` is not a condition"), report).help(help);
    }
    known.map(|(_, condition)| *condition)
}

fn hostname(name: &str, node: &Node, report: &mut Report) -> Option<String> {
    let text = string(name, node, report)?;
    // What sethostname(2) takes and Docker accepts (RFC 1123, with dots).
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let good = text.len() <= 64 && text.split('.').all(label);
    if !good {
        bad_value(node, format!("`{text}` is not a host name"), report)
            .help("letters, digits, `-` and dots, 64 at most");
    }
    good.then_some(text)
}

/// An empty one, as an unset variable leaves it, is none.
fn domainname(name: &str, node: &Node, report: &mut Report) -> Option<Option<String>> {
    match &node.value {
        Value::Scalar(scalar) if scalar.text.is_empty() => Some(None),
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => hostname(name, node, report).map(Some),
    }
}

fn networks(name: &str, node: &Node, report: &mut Report) -> Option<ServiceNetworks> {
    let mut out = ServiceNetworks::default();
    for (network, entry) in expect_map(name, node, report)? {
        if network != "default" {
            report
                .error(
                    entry.key,
                    format!("network `{network}`: networks besides `default` are not supported yet"),
                )
                .help("every service is on the stack's own network, `default`");
        } else if !entry.node.is_null()
            && let Some(mut fields) = Fields::open(network, &entry.node, report)
        {
            out.explicit = true;
            out.aliases = fields.with("aliases", report, strings).unwrap_or_default();
            fields.finish("a network of a service", keys::SERVICE_NETWORK, report);
        }
    }
    Some(out)
}

fn restart(name: &str, node: &Node, report: &mut Report) -> Option<At<String>> {
    let text = string_at(name, node, report)?;
    let base = text.value.split(':').next().unwrap_or("");
    match base {
        "no" => return Some(text),
        "always" | "on-failure" | "unless-stopped" => {
            bad_value(node, format!("`restart: {}`: restart policies are not there yet", text.value), report)
                .help("remove the line, or write `restart: \"no\"`");
        }
        _ => {
            bad_value(node, format!("`{}` is not a restart policy", text.value), report)
                .help("`\"no\"` is; others are not there yet");
        }
    }
    None
}

fn rootfs(name: &str, node: &Node, context: &Context<'_>, report: &mut Report) -> Option<At<Rootfs>> {
    let text = string(name, node, report)?;
    if text.is_empty() {
        bad_value(node, "`x-rootfs` is empty".to_owned(), report)
            .help("write `host`, or the path of a root folder");
        return None;
    }
    let rootfs = if text == "host" { Rootfs::Host } else { Rootfs::Path(context.path(&text)) };
    Some(at(node, rootfs))
}

fn stop_signal(name: &str, node: &Node, report: &mut Report) -> Option<At<(String, i32)>> {
    let text = match &node.value {
        Value::Scalar(scalar) if matches!(scalar.resolve(), Resolved::Int(_)) => scalar.text.clone(),
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => string(name, node, report)?,
    };
    let number = signal::parse(&text);
    if number.is_none() {
        let bare = text.to_ascii_uppercase();
        let near = nearest(bare.strip_prefix("SIG").unwrap_or(&bare), signal::names());
        let help = near.map_or("see signal(7)".to_owned(), |near| format!("did you mean `SIG{near}`?"));
        bad_value(node, format!("`{text}` is not a signal"), report).help(help);
    }
    number.map(|number| at(node, (text, number)))
}

fn user(name: &str, node: &Node, report: &mut Report) -> Option<At<String>> {
    let text = string_at(name, node, report)?;
    let good = {
        let mut parts = text.value.split(':');
        let part =
            |part: &str| !part.is_empty() && !part.contains(char::is_whitespace) && !part.contains('/');
        // A part of digits is an id, which has 32 bits; the last one means "none".
        let id = |part: &str| {
            !part.bytes().all(|b| b.is_ascii_digit()) || part.parse().is_ok_and(|id: u32| id < u32::MAX)
        };
        parts.clone().count() <= 2 && parts.all(|text| part(text) && id(text))
    };
    if !good {
        bad_value(node, format!("`{}` is not a user", text.value), report)
            .help("write a user, or a user and a group: `1000`, `www-data`, `1000:1000`");
    }
    good.then_some(text)
}

fn working_dir(name: &str, node: &Node, report: &mut Report) -> Option<String> {
    let text = string(name, node, report)?;
    let good = text.starts_with('/');
    if !good {
        bad_value(node, format!("`working_dir` must be an absolute path, not `{text}`"), report);
    }
    good.then_some(text)
}
