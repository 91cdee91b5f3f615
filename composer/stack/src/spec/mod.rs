//! The file as data: every key of the Compose Specification and every `x-` key of ours, with what its value may be,
//! how it merges, how it prints, what becomes of it, and a sentence of help.
//!
//! One table serves reading ([`crate::shape`]), merging ([`crate::merge`]), printing ([`crate::print`]), `up`
//! ([`Support`]) and the JSON schema (`schemas/`).

mod build;
mod deploy;
mod service;
mod top;

use crate::merge::Merge;
use crate::shape::Conversion;

pub(crate) use service::SERVICE;
pub(crate) use top::FILE;

/// A mapping with keys of the specification.
pub(crate) struct Record {
    /// How messages call it, with its article: "a service".
    pub what: &'static str,
    /// In the order in which they are printed, which is that of compose-go's types.
    pub fields: &'static [Field],
    /// Keys that have to be there once everything is merged.
    pub required: &'static [&'static str],
    /// `x-` keys may be given.
    pub extensible: bool,
}

/// One key of a [`Record`].
pub(crate) struct Field {
    pub key: &'static str,
    pub shape: Shape,
    /// `key:` without a value is the same as no key.
    pub nullable: bool,
    pub merge: Merge,
    pub print: Print,
    pub support: Support,
    /// One sentence for editors.
    pub help: &'static str,
}

/// What a value may be.
pub(crate) enum Shape {
    /// Anything: what extensions hold.
    Any,
    /// A string.
    Text,
    /// A string, number or boolean, which becomes a string.
    Scalar,
    /// The same, or nothing.
    ScalarOrNull,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A string that a function finds nothing wrong with.
    Checked(&'static Check),
    /// `true` or `false`, also as a string.
    Bool,
    /// A whole number within these bounds, also as a string.
    Int(i64, i64),
    /// A number that is not negative, also as a string.
    Float,
    /// An amount of bytes, which becomes a string of digits.
    Bytes,
    /// A span of time, which becomes Go's spelling: `1m30s`.
    Duration,
    /// A path on the host, which becomes absolute.
    Path,
    /// A list.
    List(&'static Shape),
    /// A mapping whose keys the user chooses freely.
    Map(&'static Shape),
    /// A mapping of names of services, networks…: letters, digits, `.`, `_` and `-`.
    Names(&'static Shape),
    /// This, or nothing at all, which stays.
    OrNull(&'static Shape),
    /// A mapping with keys of the specification.
    Record(&'static Record),
    /// What also has a short form.
    Short(&'static Conversion),
}

/// What is wrong with a string, and a way out.
pub(crate) struct Wrong {
    pub message: String,
    pub help: &'static str,
}

/// A rule for strings.
pub(crate) struct Check {
    /// What it is, for the schema's readers: "a signal".
    pub what: &'static str,
    pub wrong: fn(&str) -> Option<Wrong>,
}

/// When a key is printed, after compose-go's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Print {
    /// Unless its value is empty, zero or false.
    Filled,
    /// Wherever it was given.
    Given,
    /// The same, and as `null` in JSON where it was not.
    NullInJson,
    /// The same, and as `{}` in JSON where it was not.
    EmptyInJson,
    /// Never: its work is done when the file is read.
    Never,
}

/// What `up` makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It is done.
    Done,
    /// It will be done; a file that has it is refused until then.
    NotYet,
    /// Nothing is lost without it: a warning says why.
    Ignored(&'static str),
    /// The file cannot be run: an error says why.
    Refused(&'static str),
}

impl Field {
    /// A key with the usual rules.
    pub const fn new(key: &'static str, shape: Shape, help: &'static str) -> Self {
        let (merge, print, support) = (Merge::Deep, Print::Filled, Support::Done);
        Self { key, shape, nullable: false, merge, print, support, help }
    }

    pub const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    pub const fn merge(self, merge: Merge) -> Self {
        Self { merge, ..self }
    }

    pub const fn print(self, print: Print) -> Self {
        Self { print, ..self }
    }

    pub const fn support(self, support: Support) -> Self {
        Self { support, ..self }
    }
}

impl Record {
    /// The field of a key.
    pub fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// Any whole number.
pub(crate) const INT: Shape = Shape::Int(i64::MIN, i64::MAX);
/// A whole number that is not negative.
pub(crate) const COUNT: Shape = Shape::Int(0, i64::MAX);
/// A list of strings.
pub(crate) const TEXTS: Shape = Shape::List(&Shape::Text);
