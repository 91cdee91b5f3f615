//! `compose attach`.

use clap::Args;

#[derive(Debug, Args)]
pub struct Attach {
    /// The service
    pub service: String,
    /// The keys that leave the program running: letters, `ctrl-LETTER`, joined by commas
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    /// Which replica, from 1 [default: the first that runs]
    #[arg(long, value_name = "NUMBER")]
    pub index: Option<u32>,
    /// Do not pass on standard input
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass on signals [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub sig_proxy: Option<bool>,
}
