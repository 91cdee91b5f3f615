//! What stands before the verb.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The flags of all verbs.
#[derive(Debug, Args)]
pub struct Global {
    /// Compose file; may be given several times, later ones override. `-` is standard input [env: COMPOSE_FILE]
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Project name [env: COMPOSE_PROJECT_NAME]
    #[arg(short, long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Folder that relative paths begin at [default: the folder of the first Compose file]
    #[arg(long, value_name = "DIR", alias = "workdir")]
    pub project_directory: Option<PathBuf>,
    /// File of variables, in place of `.env`; may be given several times [env: COMPOSE_ENV_FILES]
    #[arg(long = "env-file", value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// Profile that is active, or `*` for all; may be given several times [env: COMPOSE_PROFILES]
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
    /// Keep networks, volumes, configs and secrets that no service uses
    #[arg(long)]
    pub all_resources: bool,
    /// Warnings about the files are errors [env: COMPOSE_STRICT]
    #[arg(long)]
    pub strict: bool,
    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Docker Compose's old ways: `config` adds nothing to the model, names have `_` [env: COMPOSE_COMPATIBILITY]
    #[arg(long)]
    pub compatibility: bool,
    /// How many engine calls Docker Compose makes at once: there is no engine to call, and nothing to limit
    #[arg(long, value_name = "NUMBER", hide = true, allow_negative_numbers = true)]
    pub parallel: Option<i32>,
    /// When to use colours and control characters [env: COMPOSE_ANSI] [default: auto]
    #[arg(long, value_name = "WHEN")]
    pub ansi: Option<Ansi>,
    /// The old name of `--ansi never`
    #[arg(long, hide = true)]
    pub no_ansi: bool,
    /// How progress is shown [env: COMPOSE_PROGRESS] [default: auto]
    #[arg(long, value_name = "STYLE")]
    pub progress: Option<ProgressStyle>,
}

/// `--ansi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Ansi {
    Never,
    Always,
    #[default]
    Auto,
}

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// `tty` on a terminal, `plain` elsewhere
    #[default]
    Auto,
    /// One block of lines, drawn in place
    Tty,
    /// A line for every event
    Plain,
    /// Warnings and errors only
    Quiet,
    /// A JSON object for every event
    Json,
}
