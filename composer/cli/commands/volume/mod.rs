//! `compose volume`: the volumes of this host, read from records and folders; no process is started. And `compose volumes`.

mod create;
mod inspect;
mod prune;

use std::collections::BTreeMap;

use composer_supervisor::host::volumes::{self, Shown};
use serde::Serialize;

use super::context::Context;
use super::filtered::{Filtered, SCOPE};
use super::{Error, Result};
use crate::options::{Filter, Volume, VolumeLs, VolumeRm, VolumeVerb, Volumes};
use crate::render::format::{Format, Listed};
use crate::render::table;

/// The one driver there is.
const DRIVER: &str = "local";

/// One volume, with Docker's keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    availability: &'a str,
    driver: &'a str,
    group: &'a str,
    labels: String,
    links: &'a str,
    mountpoint: String,
    name: &'a str,
    scope: &'a str,
    size: &'a str,
    status: &'a str,
    #[serde(skip)]
    labelled: BTreeMap<String, String>,
}

impl Listed for Line<'_> {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("Availability", "AVAILABILITY"),
        ("Driver", "DRIVER"),
        ("Group", "GROUP"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ];

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.labelled)
    }
}

/// What is done with volumes.
pub fn run(context: &mut Context, verb: Volume) -> Result {
    match verb.verb {
        VolumeVerb::Create(verb) => create::run(context, verb),
        VolumeVerb::Inspect(verb) => inspect::run(context, &verb),
        VolumeVerb::Ls(verb) => list(context, &verb),
        VolumeVerb::Prune(verb) => prune::run(context, &verb),
        VolumeVerb::Rm(verb) => remove(context, &verb),
    }
}

/// `compose volumes`: those that were made for the stack; with services, those that their containers have.
pub fn of_stack(context: &mut Context, verb: &Volumes) -> Result {
    let format = Format::parse(&verb.format.text)?;
    let stack = context.project()?;
    let mut shown = volumes::list()?;
    if !verb.services.is_empty() {
        let users = shown.iter().flat_map(|shown| &shown.users).filter(|user| user.stack == stack);
        context.check_names(&verb.services, &users.map(|user| user.service.as_str()).collect())?;
    }
    shown.retain(|shown| {
        let mut users = shown.users.iter().filter(|user| user.stack == stack);
        if verb.services.is_empty() {
            shown.volume.of.as_ref().is_some_and(|(of, _)| *of == stack) || users.next().is_some()
        } else {
            users.any(|user| verb.services.contains(&user.service))
        }
    });
    // Docker Compose's `-q` stands over any format, Docker's over the table alone.
    let format = if verb.quiet { Format::Table } else { format };
    show(context, &shown, verb.quiet, &format)
}

fn list(context: &mut Context, verb: &VolumeLs) -> Result {
    let format = Format::parse(&verb.format.text)?;
    let mut shown = volumes::list()?;
    shown.retain(|shown| is_wanted(shown, &verb.filter));
    show(context, &shown, verb.quiet, &format)
}

fn is_wanted(shown: &Shown, filters: &[Filter]) -> bool {
    let filtered = Filtered {
        name: &shown.volume.name,
        id: "",
        driver: DRIVER,
        labels: shown.labels(),
        created: None,
        dangling: shown.users.is_empty(),
    };
    filtered.agrees(filters)
}

fn show(context: &mut Context, shown: &[Shown], quiet: bool, format: &Format) -> Result {
    let lines: Vec<Line<'_>> = shown.iter().map(line).collect();
    let text = format.render(&lines, |lines| {
        if quiet {
            return lines.iter().map(|line| format!("{}\n", line.name)).collect();
        }
        let rows: Vec<_> =
            lines.iter().map(|line| vec![line.driver.to_owned(), line.name.to_owned()]).collect();
        table::render(&["DRIVER", "VOLUME NAME"], &rows)
    })?;
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

fn line(shown: &Shown) -> Line<'_> {
    let labelled = shown.labels();
    let labels: Vec<String> = labelled.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Line {
        availability: "N/A",
        driver: DRIVER,
        group: "N/A",
        labels: labels.join(","),
        links: "N/A",
        mountpoint: shown.place.display().to_string(),
        name: &shown.volume.name,
        scope: SCOPE,
        size: "N/A",
        status: "N/A",
        labelled,
    }
}

/// Goes on after a failure, as Docker does.
fn remove(context: &mut Context, verb: &VolumeRm) -> Result {
    let mut code = 0;
    for name in &verb.names {
        if verb.force && !volumes::list()?.iter().any(|shown| shown.volume.name == *name) {
            continue;
        }
        match volumes::remove(name) {
            Ok(()) => context.out.data(format!("{name}\n").as_bytes()).map_err(Error::Output)?,
            Err(error) => code = context.tell(&Error::Host(error)),
        }
    }
    Ok(code)
}
