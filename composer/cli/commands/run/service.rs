//! A service with what the command line of `run` puts over it.

use std::collections::BTreeMap;

use composer_stack::{
    Logging, NetworkMode, Port, Restart, Service, Stack, capability, env_file, same_address, split_ports,
    split_words,
};

use super::volume;
use crate::commands::context::Context;
use crate::commands::creating::no_such_service;
use crate::commands::{Error, Result, doing};
use crate::options::Run;

/// Docker Compose's label of such containers.
const LABEL: &str = "com.docker.compose.oneoff";

/// The service as it is to run. `terminal` and `interactive` were decided by the streams.
pub fn changed(
    context: &mut Context,
    verb: &Run,
    stack: &Stack,
    (terminal, interactive): (bool, bool),
) -> Result<Service> {
    let Some(service) = stack.services.get(&verb.service) else {
        return Err(no_such_service(stack, &verb.service));
    };
    let mut service = Service {
        container_name: None,
        replicas: 1,
        // As Docker Compose: a program that was asked for once runs once.
        restart: Restart::default(),
        tty: terminal,
        stdin_open: interactive,
        ..service.clone()
    };
    if verb.rm {
        // Its log is read from where it is written, and goes with it.
        service.logging = Logging::Whole;
    }
    if verb.no_deps {
        service.depends_on.clear();
    }
    program(verb, &mut service)?;
    if !verb.service_ports {
        // As in Docker Compose: those of the service itself are where it is.
        service.ports.clear();
    }
    if !verb.publish.is_empty() {
        service.ports = published(verb)?;
        check_network(context, &service)?;
        stack.bind_ports(&mut service);
        if service.ports.is_empty() {
            context.out.warning(&format!(
                "`--publish`: no port of `{}` is published: all its networks are internal, or of `macvlan` or \
                 `ipvlan`, where it has an address of its own with all its ports",
                service.name
            ));
        }
    }
    service.working_dir = verb.workdir.clone().or(service.working_dir);
    service.user = verb.user.clone().or(service.user);
    capabilities(verb, &mut service)?;
    service.environment.extend(environment(context, verb)?);
    labels(verb, &mut service)?;
    service.labels.insert(LABEL.to_owned(), "True".to_owned());
    let current = std::env::current_dir().map_err(doing("find the current folder"))?;
    for text in &verb.volume {
        let mount = volume::parse(text, &current, context.caller.home.as_deref(), &stack.volumes)
            .map_err(Error::Usage)?;
        service.mounts.retain(|known| known.target != mount.target);
        service.mounts.push(mount);
    }
    Ok(service)
}

fn labels(verb: &Run, service: &mut Service) -> Result<()> {
    for label in &verb.label {
        let Some((key, value)) = label.split_once('=') else {
            return Err(Error::Usage(format!(
                "`--label {label}` has no value: write `--label {label}=VALUE`"
            )));
        };
        service.labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(())
}

/// What is added or dropped here is not what the file says of the same capability.
fn capabilities(verb: &Run, service: &mut Service) -> Result<()> {
    let named = |flag: &str, list: &[String]| -> Result<Vec<String>> {
        let names = list.iter().map(|text| capability(text));
        names
            .collect::<std::result::Result<_, _>>()
            .map_err(|wrong| Error::Usage(format!("`{flag}`: {wrong}")))
    };
    let (added, dropped) = (named("--cap-add", &verb.cap_add)?, named("--cap-drop", &verb.cap_drop)?);
    let isolation = &mut service.isolation;
    isolation.cap_drop.retain(|name| !added.contains(name));
    isolation.cap_add.extend(added);
    isolation.cap_add.retain(|name| !dropped.contains(name));
    isolation.cap_drop.extend(dropped);
    Ok(())
}

/// The ports of `--publish`, in the short form of the file's.
fn published(verb: &Run) -> Result<Vec<Port>> {
    let mut ports = Vec::new();
    for text in &verb.publish {
        let parsed = split_ports(text).map_err(|wrong| {
            Error::Usage(format!(
                "`--publish {text}`: {wrong}; write `CONTAINER`, `HOST:CONTAINER` or `ADDRESS:HOST:CONTAINER`, such as \
                 `8080:80`"
            ))
        })?;
        if let Some(twice) = parsed.iter().find(|port| ports.iter().any(|other| clash(port, other))) {
            let number = twice.published.map(|(first, _)| first).unwrap_or_default();
            return Err(Error::Usage(format!(
                "`--publish {text}`: the port {number} of the host is published twice: give one of them another, or \
                 another address in front, `127.0.0.1:…`"
            )));
        }
        ports.extend(parsed);
    }
    Ok(ports)
}

/// Whether both want the same port of the host; of a range any will do.
fn clash(one: &Port, other: &Port) -> bool {
    let is_fixed = one.published.is_some_and(|(first, last)| first == last && first > 0);
    is_fixed
        && same_address(one.host_ip, other.host_ip)
        && one.published == other.published
        && one.protocol == other.protocol
}

/// A service without a network of its own has nothing to publish: what its `ports` would be told.
fn check_network(context: &mut Context, service: &Service) -> Result<()> {
    let of_other = |other: &str| {
        Err(Error::Usage(format!(
            "`--publish`: the network of `{}` is that of `{other}`, so ports cannot be published here: publish them at \
             `{other}`",
            service.name
        )))
    };
    match &service.network {
        NetworkMode::Networks(_) => Ok(()),
        NetworkMode::Host => {
            context.out.warning(
                "`--publish` has no effect with `network_mode: host`: what the container listens on is the host's already",
            );
            Ok(())
        }
        NetworkMode::None => Err(Error::Usage(format!(
            "`--publish`: `{}` has `network_mode: none`; a container without a network can publish no ports",
            service.name
        ))),
        NetworkMode::Service(other) | NetworkMode::Container(other) => of_other(other),
    }
}

fn program(verb: &Run, service: &mut Service) -> Result<()> {
    if let Some(entrypoint) = &verb.entrypoint {
        let words = split_words(entrypoint);
        let words = words
            .ok_or_else(|| Error::Usage(format!("`--entrypoint {entrypoint}`: a quote is never closed")))?;
        service.entrypoint = Some(words);
        service.command = None;
    }
    if !verb.command.is_empty() {
        service.command = Some(verb.command.clone());
    }
    if service.argv().is_empty() {
        return Err(Error::Usage(format!(
            "service {} has nothing to run: name a program, `compose run {} PROGRAM`",
            service.name, service.name
        )));
    }
    Ok(())
}

/// The variables of `--env`, and below them those of the files, the first one first.
fn environment(context: &Context, verb: &Run) -> Result<BTreeMap<String, String>> {
    let callers = &context.caller.environment;
    let mut variables = BTreeMap::new();
    for variable in &verb.env {
        match variable.split_once('=') {
            Some((name, value)) => drop(variables.insert(name.to_owned(), value.to_owned())),
            // Without a value it is the caller's, if the caller has it.
            None => variables.extend(callers.get(variable).map(|value| (variable.clone(), value.clone()))),
        }
    }
    let current = std::env::current_dir().map_err(doing("find the current folder"))?;
    for file in &verb.env_from_file {
        for (name, value) in env_file(file, &current, &variables)? {
            variables.entry(name).or_insert(value);
        }
    }
    Ok(variables)
}
