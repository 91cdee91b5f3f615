//! What variables are looked up in: the caller's environment, and below it what env files define.

use std::collections::BTreeMap;

use crate::diagnostic::Report;
use crate::dotenv::{self, Giver, Variable};
use crate::read::Numbered;
use crate::source::Span;

/// Variables by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, Variable>);

impl Environment {
    /// The caller's.
    pub fn new(caller: &BTreeMap<String, String>) -> Self {
        let variable = |value: &String| Variable { value: value.clone(), span: None };
        Self(caller.iter().map(|(name, value)| (name.clone(), variable(value))).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|variable| variable.value.as_str())
    }

    /// Where an env file defines it.
    pub fn definition(&self, name: &str) -> Option<Span> {
        self.0.get(name)?.span
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), Variable { value: value.to_owned(), span: None });
    }

    /// Adds what is not there yet.
    pub fn add(&mut self, others: BTreeMap<String, Variable>) {
        for (name, variable) in others {
            self.0.entry(name).or_insert(variable);
        }
    }

    /// Reads an env file: its variables come over `variables`, those of the files before it; what is here comes
    /// first where it uses variables itself.
    pub fn read(&self, file: &Numbered, variables: &mut BTreeMap<String, Variable>, report: &mut Report) {
        dotenv::parse(file, &|name| self.given(name), variables, report);
    }

    /// A variable's value, and who gives it.
    pub fn given(&self, name: &str) -> Option<(&str, Giver)> {
        let variable = self.0.get(name)?;
        Some((variable.value.as_str(), variable.span.map_or(Giver::Caller, Giver::File)))
    }

    /// Names and values.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, variable)| (name.clone(), variable.value.clone())).collect()
    }
}
