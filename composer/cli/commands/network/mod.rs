//! `compose network`: the networks of this host, read from records; what is made is recorded, and no process is started.

mod create;
mod inspect;
mod prune;

use std::collections::BTreeMap;

use composer_supervisor::host::networks::{self, Shown};
use serde::Serialize;

use super::context::Context;
use super::filtered::{Filtered, SCOPE};
use super::{Error, Result};
use crate::options::{Filter, Network, NetworkLs, NetworkRm, NetworkVerb};
use crate::render::format::{Format, Listed};
use crate::render::table;
use crate::time;

/// As many digits of an id are shown as Docker shows.
const SHORT: usize = 12;

/// One network, with Docker's keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    created_at: String,
    driver: &'static str,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "IPv4")]
    ipv4: String,
    #[serde(rename = "IPv6")]
    ipv6: String,
    internal: String,
    labels: String,
    name: String,
    scope: &'static str,
    #[serde(skip)]
    labelled: BTreeMap<String, String>,
}

impl Listed for Line {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("CreatedAt", "CREATED AT"),
        ("Driver", "DRIVER"),
        ("ID", "NETWORK ID"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("Name", "NAME"),
        ("Scope", "SCOPE"),
    ];

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.labelled)
    }
}

/// What is done with networks.
pub fn run(context: &mut Context, verb: Network) -> Result {
    match verb.verb {
        NetworkVerb::Create(verb) => create::run(context, *verb),
        NetworkVerb::Ls(verb) => list(context, &verb),
        NetworkVerb::Rm(verb) => remove(context, &verb),
        NetworkVerb::Inspect(verb) => inspect::run(context, &verb),
        NetworkVerb::Prune(verb) => prune::run(context, &verb),
    }
}

fn list(context: &mut Context, verb: &NetworkLs) -> Result {
    let format = Format::parse(&verb.format.text)?;
    let mut shown = networks::list()?;
    shown.retain(|shown| is_wanted(shown, &verb.filter));
    let id = |shown: &Shown| if verb.no_trunc { shown.id.clone() } else { shown.id[..SHORT].to_owned() };
    let lines: Vec<Line> = shown.iter().map(|shown| line(shown, id(shown))).collect();
    let text = format.render(&lines, |lines| {
        if verb.quiet {
            return lines.iter().map(|line| format!("{}\n", line.id)).collect();
        }
        let cells = |line: &Line| {
            vec![line.id.clone(), line.name.clone(), line.driver.to_owned(), line.scope.to_owned()]
        };
        let rows: Vec<_> = lines.iter().map(cells).collect();
        table::render(&["NETWORK ID", "NAME", "DRIVER", "SCOPE"], &rows)
    })?;
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

fn is_wanted(shown: &Shown, filters: &[Filter]) -> bool {
    let filtered = Filtered {
        name: &shown.network.name,
        id: &shown.id,
        driver: driver(shown),
        labels: inspect::labels(shown),
        created: shown.created,
        dangling: shown.containers.is_empty(),
    };
    filtered.agrees(filters)
}

fn driver(shown: &Shown) -> &'static str {
    shown.network.driver.kind()
}

fn line(shown: &Shown, id: String) -> Line {
    let network = &shown.network;
    let labelled = inspect::labels(shown);
    let labels: Vec<String> = labelled.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Line {
        created_at: shown.created.map(time::created_exactly_at).unwrap_or_default(),
        driver: driver(shown),
        id,
        ipv4: network.ipv4.to_string(),
        ipv6: network.ipv6.to_string(),
        internal: network.internal.to_string(),
        labels: labels.join(","),
        name: network.name.clone(),
        scope: SCOPE,
        labelled,
    }
}

/// Goes on after a failure, as Docker does.
fn remove(context: &mut Context, verb: &NetworkRm) -> Result {
    let mut code = 0;
    for name in &verb.names {
        if verb.force && networks::find(&networks::list()?, name).is_none() {
            continue;
        }
        match networks::remove(name) {
            Ok(()) => context.out.data(format!("{name}\n").as_bytes()).map_err(Error::Output)?,
            Err(error) => code = context.tell(&Error::Host(error)),
        }
    }
    Ok(code)
}
