//! A registry's own words, and which of its refusals may pass.

use std::error::Error as _;
use std::io;

use oci_client::errors::{OciDistributionError as Failure, OciErrorCode};

use super::credentials::Credentials;

/// What a failure says to somebody who wants the image.
pub(super) fn of(failure: &Failure, credentials: Option<&Credentials>) -> String {
    match failure {
        Failure::RegistryError { envelope, .. } => {
            let said: Vec<String> =
                envelope.errors.iter().map(|error| said(&error.code, &error.message)).collect();
            format!("the registry says: {}", said.join("; "))
        }
        Failure::UnauthorizedError { .. } => unauthorized(credentials),
        Failure::AuthenticationFailure(body) => {
            let body = body.trim();
            format!(
                "the registry's token service refuses: {}",
                if body.is_empty() { "it gives no reason" } else { body }
            )
        }
        // What we have found ourselves.
        Failure::GenericError(Some(why)) => why.clone(),
        Failure::ServerError { code, message, .. } => {
            format!("the registry answers {code}: {}", message.trim())
        }
        Failure::RequestError(error) if error.status().is_some_and(|status| status.as_u16() == 401) => {
            unauthorized(credentials)
        }
        Failure::RequestError(error) if error.is_timeout() && !error.is_connect() => {
            "the registry does not answer: it takes the connection and says nothing".to_owned()
        }
        // The outermost says but "error sending request".
        Failure::RequestError(error) => {
            let mut said = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                said = format!("{said}: {inner}");
                cause = inner.source();
            }
            said
        }
        other => other.to_string(),
    }
}

fn unauthorized(credentials: Option<&Credentials>) -> String {
    match credentials {
        Some(credentials) if credentials.identity().is_some() => {
            "the registry refuses the identity token: log in anew (`compose login`)".to_owned()
        }
        Some(credentials) => format!("the registry refuses the credentials of `{}`", credentials.user),
        None => "the registry refuses: it wants credentials (`compose login`), or there is no such image"
            .to_owned(),
    }
}

fn said(code: &OciErrorCode, message: &str) -> String {
    match message {
        "" => format!("{code:?}"),
        message => message.to_owned(),
    }
}

/// Whether asking again may help: the network, a server in trouble, too many requests.
pub(super) fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::RequestError(error) => !error.is_connect() && !error.is_builder(),
        Failure::IoError(_) => true,
        Failure::ServerError { code, .. } => *code == 429 || (500..600).contains(code),
        Failure::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| error.code == OciErrorCode::Toomanyrequests)
        }
        _ => false,
    }
}

/// Whether nothing has come for as long as is waited.
pub(super) fn is_silence(failure: &Failure) -> bool {
    match failure {
        Failure::RequestError(error) => error.is_timeout(),
        Failure::IoError(error) => error.kind() == io::ErrorKind::TimedOut,
        _ => false,
    }
}

/// Whether whoever answered speaks something else than TLS.
pub(super) fn speaks_no_tls(failure: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = failure.source();
    while let Some(error) = cause {
        // Errors of input and output show the one they wrap as themselves, and do not name it as their source.
        let mut wrapped = error.downcast_ref::<io::Error>();
        while let Some(error) = wrapped {
            let inner = error.get_ref();
            let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
            // Some say nothing to what they do not understand.
            if matches!(tls, Some(rustls::Error::InvalidMessage(_)))
                || matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            {
                return true;
            }
            wrapped = inner.and_then(|inner| inner.downcast_ref::<io::Error>());
        }
        cause = error.source();
    }
    false
}
