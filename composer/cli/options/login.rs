//! `compose login` and `compose logout`, with the flags of `docker login`.

use clap::Args;

/// `compose login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The registry [default: Docker Hub]
    #[arg(value_name = "SERVER", default_value = "", hide_default_value = true)]
    pub server: String,
    /// The user's name
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// The password or access token; whoever lists processes sees it
    #[arg(short, long, value_name = "SECRET")]
    pub password: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
}

/// `compose logout`.
#[derive(Debug, Args)]
pub struct Logout {
    /// The registry [default: Docker Hub]
    #[arg(value_name = "SERVER", default_value = "", hide_default_value = true)]
    pub server: String,
}
