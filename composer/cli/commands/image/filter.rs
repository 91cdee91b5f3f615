//! `--filter` of `image ls` and `image prune`, as Docker has them.

use composer_supervisor::host::images::{Name, Stored};
use globset::{GlobBuilder, GlobMatcher};

use super::super::{Error, Result};
use crate::time;

/// What an image has to be. Several of one kind: any of them; of several kinds: all of them, but labels, which are all wanted.
#[derive(Debug, Default)]
pub struct Filters {
    references: Vec<GlobMatcher>,
    labels: Vec<Label>,
    /// Made before this: nanoseconds since the Unix epoch.
    until: Option<u64>,
    dangling: Option<bool>,
}

#[derive(Debug)]
struct Label {
    key: String,
    value: Option<String>,
    /// Whether the image has it.
    has: bool,
}

impl Filters {
    /// Reads `KEY=VALUE`s, of which `known` are allowed.
    pub fn parse(texts: &[String], known: &[&str]) -> Result<Self> {
        let mut filters = Self::default();
        for text in texts {
            let wrong = || {
                Error::Usage(format!(
                    "`{text}` is not a filter: write one of {}, `=` and a value",
                    known.join(", ")
                ))
            };
            let (key, value) = text.split_once('=').ok_or_else(wrong)?;
            if !known.contains(&key) {
                return Err(wrong());
            }
            match key {
                "reference" => {
                    let glob = GlobBuilder::new(value).literal_separator(true).build();
                    let glob = glob.map_err(|error| Error::Usage(format!("`{text}`: {error}")))?;
                    filters.references.push(glob.compile_matcher());
                }
                "label" | "label!" => {
                    let (name, wanted) = match value.split_once('=') {
                        Some((name, wanted)) => (name, Some(wanted.to_owned())),
                        None => (value, None),
                    };
                    filters.labels.push(Label { key: name.to_owned(), value: wanted, has: key == "label" });
                }
                "until" => filters.until = Some(time::parse(value, time::now()).map_err(Error::Usage)?),
                "dangling" => match value {
                    "true" | "1" => filters.dangling = Some(true),
                    "false" | "0" => filters.dangling = Some(false),
                    _ => return Err(Error::Usage(format!("`{text}`: write `true` or `false`"))),
                },
                _ => return Err(wrong()),
            }
        }
        Ok(filters)
    }

    /// Whether an image is as wanted. Nothing dangles here: what has lost its name is no image any more.
    pub fn agree(&self, image: &Stored) -> bool {
        let name = Name::of(&image.reference);
        let full = name.tag.as_ref().map(|tag| format!("{}:{tag}", name.repository));
        let is_named = self.references.is_empty()
            || self.references.iter().any(|glob| {
                glob.is_match(&name.repository) || full.as_ref().is_some_and(|full| glob.is_match(full))
            });
        let is_old = self.until.is_none_or(|until| super::created(image).is_none_or(|made| made < until));
        let is_labelled = self.labels.iter().all(|label| label.agrees(image));
        is_named && is_old && is_labelled && self.dangling != Some(true)
    }
}

impl Label {
    fn agrees(&self, image: &Stored) -> bool {
        let found = image.config.run.labels.get(&self.key);
        let is_there = match &self.value {
            Some(value) => found == Some(value),
            None => found.is_some(),
        };
        is_there == self.has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter() {
        let known = ["label", "until"];
        for text in ["label", "color=red", "until=yesterday", "dangling=true"] {
            assert!(Filters::parse(&[text.to_owned()], &known).is_err(), "{text}");
        }
        let texts = ["label=a=b".to_owned(), "until=24h".to_owned()];
        assert_eq!(Filters::parse(&texts, &known).unwrap().labels[0].value.as_deref(), Some("b"));
    }
}
