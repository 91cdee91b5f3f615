//! Waiting for services: one step for each condition, shared by all who wait for it.

use std::collections::BTreeMap;

use composer_stack::{Condition, Dependency};

use crate::graph::{Plan, Step, StepId};

/// What is waited for in a plan.
#[derive(Default)]
pub(crate) struct Gates<'a> {
    /// The start steps of each service in this plan.
    started: BTreeMap<&'a str, Vec<StepId>>,
    /// One waiting step for each (service, condition, required).
    gates: BTreeMap<(&'a str, Condition, bool), StepId>,
}

impl<'a> Gates<'a> {
    /// Tells of the steps that start a service's containers. Dependencies have to be told of before dependents.
    pub fn started(&mut self, service: &'a str, starts: Vec<StepId>) {
        self.started.insert(service, starts);
    }

    /// Lets a service's containers start once a dependency of it is as it wants it.
    pub fn order(
        &mut self,
        plan: &mut Plan,
        (dependency, terms): (&'a str, &Dependency),
        dependent: &str,
        starts: &[StepId],
    ) {
        let key = (dependency, terms.condition, terms.required);
        let gate = *self.gates.entry(key).or_insert_with(|| {
            let (condition, required) = (terms.condition, terms.required);
            let step = plan.add(
                Step::Await { service: dependency.to_owned(), condition, required },
                format!("service {dependent} depends on it"),
            );
            for start in self.started.get(dependency).into_iter().flatten() {
                plan.order(*start, step);
            }
            step
        });
        starts.iter().for_each(|start| plan.order(gate, *start));
    }
}
