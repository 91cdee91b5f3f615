//! `compose image ls`.

use composer_supervisor::host::images::{self, Name, Stored};
use serde::Serialize;

use super::super::context::Context;
use super::super::{Error, Result, doing};
use super::filter::Filters;
use super::{SHORT, created, since};
use crate::options::{ImageLs, TableFormat};
use crate::render::{amount, table};
use crate::time;

const NONE: &str = "<none>";

/// One image, with Docker's keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    containers: String,
    created_at: String,
    created_since: String,
    digest: String,
    #[serde(rename = "ID")]
    id: String,
    platform: String,
    repository: String,
    size: String,
    tag: String,
}

/// Lists images, those last made first.
pub fn run(context: &mut Context, verb: &ImageLs) -> Result {
    let filters = Filters::parse(&verb.filter, &["reference", "label", "label!", "until", "dangling"])?;
    let mut all = images::list()?;
    let wanted = verb.name.as_deref();
    all.retain(|image| filters.agree(image) && wanted.is_none_or(|wanted| is_called(image, wanted)));
    all.sort_by_key(|image| std::cmp::Reverse(created(image)));
    let uses = images::in_use()?;
    let line = |image: &Stored| {
        let containers = uses.iter().filter(|used| used.digest == image.digest.to_string()).count();
        line(image, containers, verb.no_trunc)
    };
    let lines: Vec<Line> = all.iter().map(line).collect();
    let text = if verb.quiet {
        let mut ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
        ids.dedup();
        ids.into_iter().map(|id| format!("{id}\n")).collect()
    } else {
        match verb.format {
            TableFormat::Json => {
                let texts: serde_json::Result<Vec<String>> =
                    lines.iter().map(serde_json::to_string).collect();
                texts.map_err(doing("write JSON"))?.into_iter().map(|text| text + "\n").collect()
            }
            TableFormat::Table => rows(lines, verb.digests),
        }
    };
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

fn rows(lines: Vec<Line>, digests: bool) -> String {
    let mut header = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
    if digests {
        header.insert(2, "DIGEST");
    }
    let row = |line: Line| {
        let mut row = vec![line.repository, line.tag, line.id, line.created_since, line.size];
        if digests {
            row.insert(2, line.digest);
        }
        row
    };
    let rows: Vec<_> = lines.into_iter().map(row).collect();
    table::render(&header, &rows)
}

fn line(image: &Stored, containers: usize, full: bool) -> Line {
    let name = Name::of(&image.reference);
    let id = if full { image.id.to_string() } else { image.id.hex()[..SHORT].to_owned() };
    let made = created(image);
    Line {
        containers: containers.to_string(),
        created_at: made.map(time::created_at).unwrap_or_default(),
        created_since: since(made),
        digest: image.source.to_string(),
        id,
        platform: image.platform.to_string(),
        repository: name.repository,
        size: amount::decimal(image.size),
        tag: name.tag.unwrap_or_else(|| NONE.to_owned()),
    }
}

/// Without a tag all tags are meant.
fn is_called(image: &Stored, wanted: &str) -> bool {
    let (name, wanted_name) = (Name::of(&image.reference), Name::of(wanted));
    let last = wanted.rsplit('/').next().unwrap_or(wanted);
    let any_tag = !last.contains([':', '@']);
    name.repository == wanted_name.repository && (any_tag || name.tag == wanted_name.tag)
}
