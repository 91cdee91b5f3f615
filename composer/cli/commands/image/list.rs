//! `compose image ls`.

use std::borrow::Cow;

use composer_supervisor::host::images::{self, Name, Stored};
use serde::Serialize;

use super::super::context::Context;
use super::super::{Error, Result};
use super::filter::Filters;
use super::{SHORT, created, since};
use crate::options::ImageLs;
use crate::render::format::{Format, Listed};
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
    shared_size: &'static str,
    size: String,
    tag: String,
    unique_size: &'static str,
}

impl Listed for Line {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("Containers", "CONTAINERS"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("Platform", "PLATFORM"),
        ("Repository", "REPOSITORY"),
        ("SharedSize", "SHARED SIZE"),
        ("Size", "SIZE"),
        ("Tag", "TAG"),
        ("UniqueSize", "UNIQUE SIZE"),
    ];
}

/// Lists images, those last made first.
pub fn run(context: &mut Context, verb: &ImageLs) -> Result {
    let format = Format::parse(&with_digests(verb))?;
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
    let text = format.render(&lines, |lines| {
        if verb.quiet {
            let mut ids: Vec<&str> = lines.iter().map(|line| line.id.as_str()).collect();
            ids.dedup();
            return ids.into_iter().map(|id| format!("{id}\n")).collect();
        }
        rows(lines, verb.digests)
    })?;
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    Ok(0)
}

/// Docker adds the column to a table that has not got it.
fn with_digests(verb: &ImageLs) -> Cow<'_, str> {
    let format = &verb.format.text;
    if verb.digests && format.starts_with("table ") && !format.contains(".Digest") {
        return Cow::Owned(format!("{format}\\t{{{{.Digest}}}}"));
    }
    Cow::Borrowed(format)
}

fn rows(lines: &[Line], digests: bool) -> String {
    let mut header = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
    if digests {
        header.insert(2, "DIGEST");
    }
    let row = |line: &Line| {
        let mut row = vec![&line.repository, &line.tag, &line.id, &line.created_since, &line.size];
        if digests {
            row.insert(2, &line.digest);
        }
        row.into_iter().cloned().collect()
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
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
        // Layers are shared; nobody counts for whom.
        shared_size: "N/A",
        size: amount::decimal(image.size),
        tag: name.tag.unwrap_or_else(|| NONE.to_owned()),
        unique_size: "N/A",
    }
}

/// Without a tag all tags are meant.
fn is_called(image: &Stored, wanted: &str) -> bool {
    let (name, wanted_name) = (Name::of(&image.reference), Name::of(wanted));
    let last = wanted.rsplit('/').next().unwrap_or(wanted);
    let any_tag = !last.contains([':', '@']);
    name.repository == wanted_name.repository && (any_tag || name.tag == wanted_name.tag)
}
