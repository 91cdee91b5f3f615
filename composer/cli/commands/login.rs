//! `compose login` and `compose logout`: credentials where Docker keeps them, looked at by the registry first.

use std::io::Read;

use composer_supervisor::host;
use composer_supervisor::host::images::{Error as ImageError, Kept, Registries, Stop};

use super::context::Context;
use super::prompt::{self, Echo};
use super::{Error, Result, doing};
use crate::options::{Login, Logout};

/// Logs in.
pub fn run(context: &mut Context, verb: Login) -> Result {
    let registries = context.registries()?;
    let registry = Registries::named(&verb.server).to_owned();
    let known = registries.user(&registry).map_err(image)?;
    if verb.username.is_none() && verb.password.is_none() && !verb.password_stdin && known.is_some() {
        context.out.note("Authenticating with existing credentials...");
        match log_in(context, &registries, &registry, None) {
            Err(Error::Host(host::Error::Image(ImageError::Registry { message, .. }))) => {
                context.out.note(&format!("Login did not succeed: {message}"));
            }
            done => return done,
        }
    }
    let given = asked(context, &verb, known.filter(|user| !user.is_empty()))?;
    log_in(context, &registries, &registry, Some(given))
}

fn log_in(
    context: &mut Context,
    registries: &Registries,
    registry: &str,
    given: Option<(String, String)>,
) -> Result {
    let is_new = given.is_some();
    let kept = registries.log_in(registry, given, context.caller.owner, &Stop::default()).map_err(image)?;
    if let (Kept::File(path), true) = (kept, is_new) {
        context.out.warning(&format!(
            "the credentials are kept unencrypted in `{}`; a credential helper would keep them safe",
            path.display()
        ));
    }
    context.out.line("Login Succeeded").map_err(Error::Output)?;
    Ok(0)
}

/// A user and their secret: as given, or asked for on a terminal.
fn asked(context: &mut Context, verb: &Login, known: Option<String>) -> Result<(String, String)> {
    let secret = secret(context, verb)?;
    let user = match (&verb.username, known) {
        (Some(user), _) => user.clone(),
        (None, Some(known)) => {
            let user = prompt::ask(context, &format!("Username ({known}): "), Echo::On)?;
            if user.is_empty() { known } else { user }
        }
        (None, None) => prompt::ask(context, "Username: ", Echo::On)?,
    };
    let secret = match secret {
        Some(secret) => secret,
        None => prompt::ask(context, "Password: ", Echo::Off)?,
    };
    match (user.is_empty(), secret.is_empty()) {
        (true, _) => Err(Error::Usage("a login needs a user: give `--username`".to_owned())),
        (false, true) => Err(Error::Usage("a login needs a password".to_owned())),
        (false, false) => Ok((user, secret)),
    }
}

/// The secret, where it is given.
fn secret(context: &mut Context, verb: &Login) -> Result<Option<String>> {
    let usage = |why: &str| Err(Error::Usage(why.to_owned()));
    match (&verb.password, verb.password_stdin) {
        (Some(_), true) => usage("--password and --password-stdin are mutually exclusive"),
        (Some(secret), false) => {
            let why = "a password on the command line can be read by others: use `--password-stdin`";
            context.out.warning(why);
            Ok(Some(secret.clone()))
        }
        (None, true) if verb.username.is_none() => usage("must provide --username with --password-stdin"),
        (None, true) => {
            let mut secret = String::new();
            std::io::stdin().read_to_string(&mut secret).map_err(doing("read the password"))?;
            Ok(Some(secret.trim_end_matches(['\n', '\r']).to_owned()))
        }
        (None, false) => Ok(None),
    }
}

/// Logs out.
pub fn out(context: &mut Context, verb: &Logout) -> Result {
    let registry = Registries::named(&verb.server);
    let was_in = context.registries()?.log_out(registry, context.caller.owner).map_err(image)?;
    let said = match was_in {
        true => format!("Removing login credentials for {registry}"),
        false => format!("Not logged in to {registry}"),
    };
    context.out.line(&said).map_err(Error::Output)?;
    Ok(0)
}

fn image(error: ImageError) -> Error {
    Error::Host(host::Error::Image(error))
}
