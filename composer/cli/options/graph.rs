//! `compose graph`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Shows what the stack is made of and how its parts hang together: services in the order in which they start, what
/// they need, networks, ports, volumes, configs and secrets. The files alone are read
#[derive(Debug, Args)]
pub struct Graph {
    /// Services to show, with what they depend on [default: all whose profiles are active]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: GraphFormat,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `graph --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// To be read
    Text,
    /// A flowchart of Mermaid's
    Mermaid,
    /// Graphviz' language
    Dot,
}
