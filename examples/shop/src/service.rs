//! How each program starts, serves, answers its health check and ends.
#![expect(clippy::print_stdout, reason = "their standard output is their log")]

use std::future::Future;
use std::process::ExitCode;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::Result;

/// A line of the log.
pub fn log(line: impl std::fmt::Display) {
    println!("{line}");
}

/// A setting from the environment.
pub fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Runs a program until it ends or is asked to: PID 1 has no default action for SIGTERM.
pub fn run(program: impl Future<Output = Result<()>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log(error);
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let ended = async {
            let mut term = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
            log("asked to end");
            Ok(())
        };
        match tokio::select! { done = program => done, done = ended => done } {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log(format_args!("error: {error}"));
                ExitCode::FAILURE
            }
        }
    })
}

/// Serves HTTP on the port of `PORT`.
///
/// # Errors
/// When the port is taken.
pub async fn serve(port: &str, router: Router) -> Result<()> {
    let port = setting("PORT", port);
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))
        .await
        .map_err(|error| format!("port {port}: {error}"))?;
    log(format_args!("listening on {}", listener.local_addr()?));
    Ok(axum::serve(listener, router).await?)
}

/// `--health`: whether this program, running beside this one, answers.
///
/// # Errors
/// When it does not.
pub async fn probe(port: &str) -> Result<()> {
    let port = setting("PORT", port);
    reqwest::get(format!("http://127.0.0.1:{port}/health")).await?.error_for_status()?;
    Ok(())
}

/// An error as an answer.
pub struct Failed(pub StatusCode, pub String);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

impl<E: std::fmt::Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(StatusCode::BAD_GATEWAY, error.to_string())
    }
}
