//! `compose images`: what the containers of the stack stand on.

use std::collections::BTreeSet;

use composer_supervisor::host::images::{self, Name, Stored, Use};
use serde::Serialize;

use super::context::Context;
use super::image::{SHORT, created, since};
use super::{Error, Result, doing};
use crate::options::{Images, ListFormat};
use crate::render::{amount, table};
use crate::time;

/// One container's image, with Docker Compose's keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    #[serde(rename = "ID")]
    id: String,
    container_name: String,
    repository: String,
    tag: String,
    platform: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_tag_time: Option<String>,
}

/// A container, and what is known of its image.
struct Found<'a> {
    used: &'a Use,
    repository: String,
    tag: Option<String>,
    size: Option<u64>,
    /// Nanoseconds since the Unix epoch.
    created: Option<u64>,
    pulled: Option<std::time::SystemTime>,
}

/// Lists the images.
pub fn run(context: &mut Context, verb: &Images) -> Result {
    let stack = context.project()?;
    let uses = images::in_use()?;
    let uses: Vec<Use> = uses.into_iter().filter(|used| used.stack == stack && !used.is_beside).collect();
    let known: BTreeSet<&str> = uses.iter().map(|used| used.service.as_str()).collect();
    context.check_names(&verb.services, &known)?;
    let wanted = |used: &&Use| verb.services.is_empty() || verb.services.contains(&used.service);
    let stored = images::list()?;
    let found = uses.iter().filter(wanted).map(|used| Found::of(used, &stored));
    let found: Vec<Found<'_>> = found.collect::<Result<_>>()?;
    let text = if verb.quiet {
        let ids: BTreeSet<&str> = found.iter().map(|found| digits(&found.used.id)).collect();
        ids.into_iter().map(|id| format!("{id}\n")).collect()
    } else {
        match verb.format {
            ListFormat::Json => {
                let lines: Vec<Line> = found.iter().map(line).collect();
                serde_json::to_string(&lines).map_err(doing("write JSON"))? + "\n"
            }
            ListFormat::Table => rows(&found),
        }
    };
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

fn digits(id: &str) -> &str {
    id.split_once(':').map_or(id, |(_, digits)| digits)
}

impl<'a> Found<'a> {
    fn of(used: &'a Use, stored: &[Stored]) -> Result<Self> {
        let name = Name::of(&used.reference);
        let mut same = stored.iter().filter(|image| image.digest.to_string() == used.digest);
        if let Some(image) = same.clone().find(|image| Name::of(&image.reference) == name).or(same.next()) {
            let (size, created) = (Some(image.size), created(image));
            let is_local = name.tag.is_none();
            let tag = name.tag.filter(|_| is_local || called(stored, used));
            return Ok(Self {
                used,
                repository: name.repository,
                tag,
                size,
                created,
                pulled: Some(image.pulled),
            });
        }
        // Its name is another image's by now.
        let kept = images::of_manifest(&used.digest)?;
        let created = kept.as_ref().and_then(|(config, _)| time::parse(config.created.as_deref()?, 0).ok());
        let size = kept.map(|(_, size)| size);
        Ok(Self { used, repository: name.repository, tag: None, size, created, pulled: None })
    }
}

/// Whether an image still has the name that a container's file has for it.
fn called(stored: &[Stored], used: &Use) -> bool {
    let name = Name::of(&used.reference);
    stored.iter().any(|image| image.digest.to_string() == used.digest && Name::of(&image.reference) == name)
}

fn line(found: &Found<'_>) -> Line {
    let used = found.used;
    let pulled = found.pulled.and_then(|pulled| pulled.duration_since(std::time::UNIX_EPOCH).ok());
    let pulled = pulled.and_then(|pulled| u64::try_from(pulled.as_nanos()).ok());
    Line {
        id: used.id.clone(),
        container_name: used.container.clone(),
        repository: found.repository.clone(),
        tag: found.tag.clone().unwrap_or_default(),
        platform: used.platform.clone(),
        size: found.size.unwrap_or(0),
        created: found.created.map(time::with_zone),
        last_tag_time: pulled.map(time::with_zone),
    }
}

fn rows(found: &[Found<'_>]) -> String {
    let row = |found: &Found<'_>| {
        vec![
            found.used.container.clone(),
            found.repository.clone(),
            found.tag.clone().unwrap_or_else(|| "<none>".to_owned()),
            found.used.platform.clone(),
            digits(&found.used.id).chars().take(SHORT).collect(),
            found.size.map_or_else(|| "N/A".to_owned(), amount::decimal),
            since(found.created),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    let header = ["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"];
    table::render_wide(&header, &rows)
}
