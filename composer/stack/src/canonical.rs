//! Docker Compose's canonical model of a project: what `config` prints. Key order and spelling are those of
//! compose-go's types (v2.40), which leaves out what was not set.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::emit::Document;

use crate::decode::project::{
    At, Build, Deploy, Extensions, Healthcheck, Limits, Mount, MountKind, Project, Service,
};
use crate::model::{Condition, Rootfs};
use crate::yaml::{Node, Resolved, Value};
use crate::{cpuset, duration};

/// What the document is for: compose-go prints a few empty values in JSON alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
}

/// A mapping under construction.
#[derive(Default)]
struct Out(IndexMap<String, Document>);

impl Out {
    fn put(&mut self, key: &str, value: impl Into<Document>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn some<T: Into<Document>>(&mut self, key: &str, value: Option<T>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.some(key, value.then_some(true));
    }

    fn extend(&mut self, extensions: &Extensions) {
        let sorted: BTreeMap<_, _> = extensions.iter().collect();
        self.0.extend(sorted.into_iter().map(|(key, node)| (key.clone(), raw(node))));
    }

    fn done(self) -> Document {
        Document::Map(self.0)
    }
}

impl From<bool> for Document {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Document {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Document {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Document {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Document {
    fn from(value: &str) -> Self {
        Self::Text(escape(value))
    }
}

impl From<&String> for Document {
    fn from(value: &String) -> Self {
        Self::Text(escape(value))
    }
}

impl From<&Vec<String>> for Document {
    fn from(value: &Vec<String>) -> Self {
        Self::List(value.iter().map(Self::from).collect())
    }
}

impl From<&BTreeMap<String, String>> for Document {
    fn from(value: &BTreeMap<String, String>) -> Self {
        Self::Map(value.iter().map(|(key, value)| (key.clone(), value.into())).collect())
    }
}

impl From<&BTreeMap<String, Option<String>>> for Document {
    fn from(value: &BTreeMap<String, Option<String>>) -> Self {
        let pair = |(key, value): (&String, &Option<String>)| {
            (key.clone(), value.as_ref().map_or(Self::Null, Self::from))
        };
        Self::Map(value.iter().map(pair).collect())
    }
}

/// What is printed is read again with interpolation, so a dollar sign is doubled.
fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// An amount of bytes: compose-go prints them as strings.
fn bytes(value: impl ToString) -> Document {
    Document::Text(value.to_string())
}

/// The document of a project.
pub(crate) fn document(project: &Project, format: Format) -> Document {
    let mut out = Out::default();
    out.put("name", project.name.as_str());
    let networked = !project.services.is_empty();
    let network = networked.then(|| networks(project, format));
    let services = project.services.iter().map(|(name, decoded)| (name.clone(), service(decoded, format)));
    let services = Document::Map(services.collect());
    let used: BTreeSet<&String> = project.services.values().flat_map(used_volumes).collect();
    let mut volumes = Out::default();
    for (key, volume) in project.volumes.iter().filter(|(key, _)| used.contains(key)) {
        let mut item = Out::default();
        item.put("name", &volume.name.value);
        item.flag("external", volume.external);
        item.some("labels", (!volume.labels.is_empty()).then_some(&volume.labels));
        item.extend(&volume.extensions);
        volumes.put(key, item.done());
    }
    let volumes = (!volumes.0.is_empty()).then(|| volumes.done());
    match format {
        Format::Yaml => {
            out.put("services", services);
            out.some("networks", network);
        }
        Format::Json => {
            out.some("networks", network);
            out.put("services", services);
        }
    }
    out.some("volumes", volumes);
    out.extend(&project.extensions);
    out.done()
}

fn networks(project: &Project, format: Format) -> Document {
    let mut default = Out::default();
    default.put("name", format!("{}_default", project.name).as_str());
    if format == Format::Json {
        default.put("ipam", Out::default().done());
    }
    let mut networks = Out::default();
    networks.put("default", default.done());
    networks.done()
}

fn used_volumes(service: &Service) -> impl Iterator<Item = &String> {
    service.volumes.iter().filter_map(|mount| match &mount.value.kind {
        MountKind::Volume { source, .. } => source.as_ref(),
        MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
    })
}

fn service(service: &Service, format: Format) -> Document {
    let mut out = Out::default();
    out.some("attach", service.attach);
    out.some("build", service.build.as_ref().map(|at| build(&at.value)));
    let limits = &service.limits;
    out.some("cpus", limits.cpus.as_ref().map(|at| at.value).filter(|cpus| *cpus > 0.0));
    out.some("cpuset", limits.cpuset.as_ref().map(|at| Document::Text(cpuset::show(&at.value))));
    out.some(
        "cpu_shares",
        limits.cpu_shares.as_ref().and_then(|at| i64::try_from(at.value).ok()).filter(|n| *n > 0),
    );
    words(&mut out, "command", service.command.as_ref(), format);
    out.some("container_name", service.container_name.as_ref().map(|at| &at.value));
    out.some("depends_on", dependencies(service));
    out.some("deploy", service.deploy.as_ref().map(|decoded| deploy(decoded, format)));
    out.some("domainname", service.domainname.as_ref());
    words(&mut out, "entrypoint", service.entrypoint.as_ref(), format);
    out.some("environment", (!service.environment.is_empty()).then_some(&service.environment));
    out.some("hostname", service.hostname.as_ref());
    out.some("healthcheck", service.healthcheck.as_ref().map(healthcheck));
    out.some("image", service.image.as_ref().map(|at| &at.value));
    out.some("init", service.init);
    out.some("labels", (!service.labels.is_empty()).then_some(&service.labels));
    out.some("mem_limit", limits.memory.as_ref().filter(|at| at.value > 0).map(|at| bytes(at.value)));
    out.some(
        "mem_reservation",
        limits.reservation.as_ref().filter(|at| at.value > 0).map(|at| bytes(at.value)),
    );
    out.some("memswap_limit", limits.swap.as_ref().filter(|at| at.value != 0).map(|at| bytes(at.value)));
    let mut networks = Out::default();
    let mut default = Out::default();
    if !service.networks.aliases.is_empty() {
        default.put("aliases", &service.networks.aliases);
    }
    networks.put("default", if service.networks.explicit { default.done() } else { Document::Null });
    out.put("networks", networks.done());
    out.some("pids_limit", limits.pids.as_ref().map(|at| at.value).filter(|pids| *pids != 0));
    out.flag("read_only", service.read_only);
    out.some("restart", service.restart.as_ref().map(|at| &at.value));
    out.some("scale", service.scale.as_ref().map(|at| at.value));
    out.flag("stdin_open", service.stdin_open);
    out.some("stop_grace_period", service.stop_grace_period.map(time));
    out.some("stop_signal", service.stop_signal.as_ref().map(|at| &at.value.0));
    let tmpfs: Vec<String> = service.tmpfs.iter().map(|at| at.value.text.clone()).collect();
    out.some("tmpfs", (!tmpfs.is_empty()).then_some(&tmpfs));
    out.flag("tty", service.tty);
    out.some("user", service.user.as_ref().map(|at| &at.value));
    let volumes: Vec<Document> = service.volumes.iter().map(|at| mount(&at.value)).collect();
    out.some("volumes", (!volumes.is_empty()).then_some(Document::List(volumes)));
    out.some("working_dir", service.working_dir.as_ref());
    let own = service.extensions.iter().filter(|(key, _)| key.as_str() < "x-rootfs");
    out.extend(&own.map(|(key, node)| (key.clone(), node.clone())).collect());
    out.some("x-rootfs", service.rootfs.as_ref().map(|at| rootfs(&at.value)));
    let own = service.extensions.iter().filter(|(key, _)| key.as_str() > "x-rootfs");
    out.extend(&own.map(|(key, node)| (key.clone(), node.clone())).collect());
    out.done()
}

/// JSON has `null` where nothing was given; YAML has nothing.
fn words(out: &mut Out, key: &str, value: Option<&At<Vec<String>>>, format: Format) {
    match (value, format) {
        (Some(at), _) => out.put(key, &at.value),
        (None, Format::Json) => out.put(key, Document::Null),
        (None, Format::Yaml) => {}
    }
}

fn rootfs(rootfs: &Rootfs) -> Document {
    match rootfs {
        Rootfs::Host => Document::Text("host".to_owned()),
        Rootfs::Path(path) => path.display().to_string().as_str().into(),
    }
}

fn build(build: &Build) -> Document {
    let mut out = Out::default();
    out.some("context", build.context.as_ref());
    match (&build.dockerfile, &build.dockerfile_inline) {
        (None, None) => out.put("dockerfile", "Dockerfile"),
        (file, inline) => {
            out.some("dockerfile", file.as_ref().filter(|file| !file.is_empty()));
            out.some("dockerfile_inline", inline.as_ref());
        }
    }
    out.some("args", (!build.args.is_empty()).then_some(&build.args));
    out.some("labels", (!build.labels.is_empty()).then_some(&build.labels));
    out.some("target", build.target.as_ref());
    out.extend(&build.extensions);
    out.done()
}

fn dependencies(service: &Service) -> Option<Document> {
    let mut out = Out::default();
    for (name, dependency) in &service.depends_on {
        let mut item = Out::default();
        item.put(
            "condition",
            match dependency.condition {
                Condition::Started => "service_started",
                Condition::Healthy => "service_healthy",
                Condition::CompletedSuccessfully => "service_completed_successfully",
            },
        );
        item.flag("restart", dependency.restart);
        item.put("required", dependency.required);
        out.put(name, item.done());
    }
    (!out.0.is_empty()).then(|| out.done())
}

fn deploy(deploy: &Deploy, format: Format) -> Document {
    let mut out = Out::default();
    out.some("replicas", deploy.replicas.as_ref().map(|at| at.value));
    if deploy.has_resources || format == Format::Json {
        out.put("resources", resources(&deploy.limits));
    }
    if format == Format::Json {
        out.put("placement", Out::default().done());
    }
    out.extend(&deploy.extensions);
    out.done()
}

fn resources(limits: &Limits) -> Document {
    let mut out = Out::default();
    let mut upper = Out::default();
    upper.some("cpus", limits.cpus.as_ref().map(|at| at.value).filter(|cpus| *cpus > 0.0));
    upper.some("memory", limits.memory.as_ref().filter(|at| at.value > 0).map(|at| bytes(at.value)));
    upper.some("pids", limits.pids.as_ref().map(|at| at.value).filter(|pids| *pids != 0));
    if !upper.0.is_empty() {
        out.put("limits", upper.done());
    }
    let mut lower = Out::default();
    lower.some("cpus", limits.reserved_cpus.as_ref().map(|at| at.value).filter(|cpus| *cpus > 0.0));
    lower.some("memory", limits.reservation.as_ref().filter(|at| at.value > 0).map(|at| bytes(at.value)));
    if !lower.0.is_empty() {
        out.put("reservations", lower.done());
    }
    out.done()
}

fn time(value: std::time::Duration) -> Document {
    Document::Text(duration::show(value))
}

fn healthcheck(check: &Healthcheck) -> Document {
    let mut out = Out::default();
    out.some("test", check.test.as_ref());
    out.some("timeout", check.timeout.map(time));
    out.some("interval", check.interval.map(time));
    out.some("retries", check.retries);
    out.some("start_period", check.start_period.map(time));
    out.some("start_interval", check.start_interval.map(time));
    out.flag("disable", check.disable);
    out.extend(&check.extensions);
    out.done()
}

fn mount(mount: &Mount) -> Document {
    let mut out = Out::default();
    let mut inner = Out::default();
    let (kind, source, options) = match &mount.kind {
        MountKind::Bind { source, create_host_path, selinux, options } => {
            inner.some("selinux", selinux.map(|label| Document::Text(label.to_string())));
            inner.flag("create_host_path", *create_host_path);
            ("bind", Some(source.display().to_string()), *options)
        }
        MountKind::Volume { source, nocopy, options } => {
            inner.flag("nocopy", *nocopy);
            ("volume", source.clone(), *options)
        }
        MountKind::Tmpfs { size, mode, options } => {
            inner.some("size", size.map(bytes));
            inner.some("mode", *mode);
            ("tmpfs", None, *options)
        }
    };
    out.put("type", kind);
    out.some("source", source.as_ref());
    out.put("target", &mount.target);
    out.flag("read_only", mount.read_only);
    out.some(kind, options.then(|| inner.done()));
    out.extend(&mount.extensions);
    out.done()
}

/// An extension as it was written, keys sorted.
fn raw(node: &Node) -> Document {
    match &node.value {
        Value::Map(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            Document::Map(sorted.into_iter().map(|(key, entry)| (key.clone(), raw(&entry.node))).collect())
        }
        Value::List(items) => Document::List(items.iter().map(raw).collect()),
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => Document::Null,
            Resolved::Bool(value) => value.into(),
            Resolved::Int(value) => value.into(),
            Resolved::Float(value) => value.into(),
            Resolved::Text(text) => text.into(),
        },
    }
}
