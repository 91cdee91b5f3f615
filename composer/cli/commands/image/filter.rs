//! `--filter` of `image ls` and `image prune`, as Docker has them.

use composer_supervisor::host::images::{Name, Stored};
use globset::{GlobBuilder, GlobMatcher};

use super::super::{Error, Result};
use crate::options::filter::{self, Label};
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
                "label" | "label!" => filters.labels.push(filter::label(text).ok_or_else(wrong)?),
                "until" => filters.until = Some(time::parse(value, time::now()).map_err(Error::Usage)?),
                "dangling" => {
                    let wrong = || Error::Usage(format!("`{text}`: write `true` or `false`"));
                    filters.dangling = Some(filter::flag(value).ok_or_else(wrong)?);
                }
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
        let is_labelled = self.labels.iter().all(|label| label.agrees(&image.config.run.labels));
        is_named && is_old && is_labelled && self.dangling != Some(true)
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
        assert_eq!(Filters::parse(&texts, &known).unwrap().labels, [filter::label("label=a=b").unwrap()]);
    }
}
