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

/// Lists the images.
pub fn run(context: &mut Context, verb: &Images) -> Result {
    let stack = context.project()?;
    let uses = images::in_use()?;
    let uses: Vec<Use> = uses.into_iter().filter(|used| used.stack == stack && !used.is_beside).collect();
    let known: BTreeSet<&str> = uses.iter().map(|used| used.service.as_str()).collect();
    context.check_names(&verb.services, &known)?;
    let wanted = |used: &&Use| verb.services.is_empty() || verb.services.contains(&used.service);
    let stored = images::list()?;
    let found: Vec<(&Use, Option<&Stored>)> = uses
        .iter()
        .filter(wanted)
        .map(|used| (used, stored.iter().find(|image| image.digest.to_string() == used.digest)))
        .collect();
    let text = if verb.quiet {
        let ids: BTreeSet<&str> = found.iter().map(|(used, _)| digits(&used.id)).collect();
        ids.into_iter().map(|id| format!("{id}\n")).collect()
    } else {
        match verb.format {
            ListFormat::Json => {
                let lines: Vec<Line> = found.iter().map(|(used, image)| line(used, *image)).collect();
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

fn line(used: &Use, image: Option<&Stored>) -> Line {
    let name = Name::of(&used.reference);
    let pulled = image.and_then(|image| image.pulled.duration_since(std::time::UNIX_EPOCH).ok());
    let pulled = pulled.and_then(|pulled| u64::try_from(pulled.as_nanos()).ok());
    Line {
        id: used.id.clone(),
        container_name: used.container.clone(),
        repository: name.repository,
        tag: name.tag.unwrap_or_default(),
        platform: used.platform.clone(),
        size: image.map_or(0, |image| image.size),
        created: image.and_then(created).map(time::with_zone),
        last_tag_time: pulled.map(time::with_zone),
    }
}

fn rows(found: &[(&Use, Option<&Stored>)]) -> String {
    let row = |(used, image): &(&Use, Option<&Stored>)| {
        let name = Name::of(&used.reference);
        vec![
            used.container.clone(),
            name.repository,
            name.tag.unwrap_or_else(|| "<none>".to_owned()),
            used.platform.clone(),
            digits(&used.id).chars().take(SHORT).collect(),
            image.map_or_else(|| "N/A".to_owned(), |image| amount::decimal(image.size)),
            since(image.and_then(created)),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    let header = ["CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED"];
    table::render_wide(&header, &rows)
}
