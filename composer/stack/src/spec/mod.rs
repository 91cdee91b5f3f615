//! The file as data: every key of the Compose Specification and every `x-` key of ours, with what its value may be,
//! how it merges, how it prints, what becomes of it, and a sentence of help.
//!
//! One table serves reading ([`crate::shape`]), merging ([`crate::merge`]), printing ([`crate::print`]), `up`
//! ([`Support`]) and the JSON schema (`schemas/`).

pub(crate) mod build;
pub(crate) mod container;
pub(crate) mod deploy;
pub(crate) mod examples;
pub(crate) mod lacks;
pub(crate) mod mounts;
mod own;
mod resources;
pub(crate) mod service;
pub(crate) mod top;

use std::borrow::Cow;

use crate::merge::Merge;
use crate::shape::Conversion;
use crate::source::Span;
use crate::yaml::{Map, Node};

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
    /// Any other key can be shown too, and is left out: the specification forgot to forbid it.
    pub open: bool,
    /// Puts in what is there without being given, once everything is merged.
    pub fill: Option<fn(&mut Map, Span)>,
}

/// One key of a [`Record`].
pub(crate) struct Field {
    pub key: &'static str,
    pub shape: Shape,
    /// `key:` without a value is the same as no key.
    pub nullable: bool,
    /// It means nothing any more.
    pub deprecated: bool,
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
    /// The same; nothing becomes an empty string once everything is merged.
    ScalarOrEmpty,
    /// A string or number, which becomes a string.
    TextOrNumber,
    /// The same; nothing becomes an empty string once everything is merged.
    TextOrNumberOrEmpty,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A string that a function finds nothing wrong with.
    Checked(&'static Check),
    /// `true` or `false`, also as a string.
    Bool,
    /// `true` or `false`, never a string.
    StrictBool,
    /// A whole number within these bounds, also as a string.
    Int(i64, i64),
    /// The same; one that is not within these bounds can be shown and not be run.
    Bounded(i64, i64),
    /// A number whose fraction is cut off, also as a string of a whole one; bounds are those of [`Shape::Bounded`].
    Number(i64, i64),
    /// A number whose fraction is cut off, never a string.
    StrictNumber,
    /// A whole number within these bounds, never a string.
    StrictInt(i64, i64),
    /// A number, also as a string; a negative one can be shown and not be run.
    Float,
    /// An amount of bytes, also as a number, which becomes a string of digits. One below zero can be shown and not
    /// be run.
    Bytes,
    /// The same, also as a number with a fraction, for which Docker Compose shows nothing at all.
    BytesOrFraction,
    /// An amount of bytes as a string, which becomes one of digits.
    BytesText,
    /// The same, or -1.
    BytesOrMinusOne,
    /// Permission bits: a string is octal. They become a string of octal digits that begins with a zero.
    Mode,
    /// A span of time, which becomes Go's spelling: `1m30s`.
    Duration,
    /// A path on the host, which becomes absolute.
    Path,
    /// A list.
    List(&'static Shape),
    /// A list in which no string is there twice.
    Set(&'static Shape),
    /// A mapping whose keys the user chooses freely, though none is empty.
    Map(&'static Shape),
    /// A mapping of names of services, networks…: letters, digits, `.`, `_` and `-`.
    Names(&'static Shape),
    /// A scalar of the first kind, or a mapping or list of the second.
    Either(&'static Shape, &'static Shape),
    /// This, or nothing at all, which stays.
    OrNull(&'static Shape),
    /// A mapping with keys of the specification.
    Record(&'static Record),
    /// What also has a short form.
    Short(&'static Conversion),
    /// The same, of which Docker Compose makes the long form only with its types: where expressions are kept, so is
    /// the form that was written.
    Late(&'static Conversion),
}

/// How a value is built, whatever its scalars may be.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Any,
    Scalar,
    /// A list, of items that are each like this.
    List(&'static Shape),
    /// A mapping with free keys, of values that are each like this.
    Map(&'static Shape),
    Record(&'static Record),
    OrNull(&'static Shape),
    /// A scalar, or a mapping or list like this.
    Either(&'static Shape),
    Short(&'static Conversion),
}

impl Shape {
    /// How values of it are built.
    pub fn form(&self) -> Form {
        match self {
            Self::Any => Form::Any,
            Self::List(item) | Self::Set(item) => Form::List(item),
            Self::Map(value) | Self::Names(value) => Form::Map(value),
            Self::Record(record) => Form::Record(record),
            Self::OrNull(shape) => Form::OrNull(shape),
            Self::Either(_, mapping) => Form::Either(mapping),
            Self::Short(conversion) | Self::Late(conversion) => Form::Short(conversion),
            Self::Text
            | Self::Scalar
            | Self::ScalarOrNull
            | Self::ScalarOrEmpty
            | Self::TextOrNumber
            | Self::TextOrNumberOrEmpty
            | Self::Word(_)
            | Self::Checked(_)
            | Self::Bool
            | Self::StrictBool
            | Self::Int(..)
            | Self::Bounded(..)
            | Self::Number(..)
            | Self::StrictNumber
            | Self::StrictInt(..)
            | Self::Float
            | Self::Bytes
            | Self::BytesOrFraction
            | Self::BytesText
            | Self::BytesOrMinusOne
            | Self::Mode
            | Self::Duration
            | Self::Path => Form::Scalar,
        }
    }
}

/// What is wrong with a string, and a way out.
pub(crate) struct Wrong {
    pub message: String,
    pub help: Cow<'static, str>,
}

/// A rule for strings.
pub(crate) struct Check {
    /// The same rule as a regular expression, where one can say it: for editors.
    pub pattern: Option<&'static str>,
    pub wrong: fn(&str) -> Option<Wrong>,
    /// Whether Docker Compose refuses what is wrong too. Where it does not, it can be shown and not be run.
    pub refused: fn(&str) -> bool,
}

/// When a key is printed, after compose-go's types.
#[derive(Clone, Copy)]
pub(crate) enum Print {
    /// Unless its value is empty, zero or false.
    Filled,
    /// The same in YAML, never in JSON.
    FilledInYaml,
    /// Wherever it was given.
    Given,
    /// In YAML wherever it was given, in JSON unless it is zero.
    GivenInYaml,
    /// Wherever it was given and is something, and as `null` in JSON otherwise.
    NullInJson,
    /// In YAML unless it is empty, in JSON always, as `{}` where it was not given.
    EmptyInJson,
    /// Wherever it was given, under another name in JSON.
    Named(&'static str),
    /// As what this makes of it.
    As(fn(&Node) -> Node),
    /// Only where expressions are kept: compose-go's types have no room for it.
    Untyped,
    /// Never: its work is done when the file is read.
    Never,
}

/// What `up` makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It is done.
    Done,
    /// It will be done; a file that has it is refused until then, for what [`lacks`] says.
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
        Self { key, shape, nullable: false, deprecated: false, merge, print, support, help }
    }

    /// `key:` without a value is the same as no key.
    pub const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// It means nothing any more, which editors show.
    pub const fn deprecated(self) -> Self {
        Self { deprecated: true, ..self }
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
    /// A mapping that may have `x-` keys and has to have none.
    pub const fn new(what: &'static str, fields: &'static [Field]) -> Self {
        Self { what, fields, required: &[], extensible: true, open: false, fill: None }
    }

    pub const fn required(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    /// Not even `x-` keys may be given.
    pub const fn closed(self) -> Self {
        Self { extensible: false, ..self }
    }

    pub const fn fill(self, fill: fn(&mut Map, Span)) -> Self {
        Self { fill: Some(fill), ..self }
    }

    pub const fn open(self) -> Self {
        Self { open: true, ..self }
    }

    /// The field of a key.
    pub fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// Any whole number.
pub(crate) const INT: Shape = Shape::Int(i64::MIN, i64::MAX);
/// Any number, of which the fraction is cut off.
pub(crate) const NUMBER: Shape = Shape::Number(i64::MIN, i64::MAX);
/// A whole number that is not negative.
pub(crate) const COUNT: Shape = Shape::Int(0, i64::MAX);
/// A list of strings.
pub(crate) const TEXTS: Shape = Shape::List(&Shape::Text);
/// A list of strings, none of them twice.
pub(crate) const SET: Shape = Shape::Set(&Shape::Text);
/// A mapping of strings.
pub(crate) const STRINGS: Shape = Shape::Map(&Shape::Text);
/// Options that are handed on as they are: strings and numbers.
pub(crate) const OPTIONS: Shape = Shape::Map(&Shape::TextOrNumber);
