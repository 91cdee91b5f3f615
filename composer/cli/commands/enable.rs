//! `compose enable`: a systemd unit that brings the stack up at every boot.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use composer_stack::{Loaded, Purpose};

use super::context::Context;
use super::{Error, Result, doing, output, unit};
use crate::options::Enable;
use crate::systemd::{self, Unit};

/// There where systemd is the init (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// What a unit that is enabled is linked from.
const WANTS: &str = "multi-user.target.wants";

/// Writes the unit, and the link that has it started.
pub fn run(context: &mut Context, verb: &Enable) -> Result {
    // Checked as for `up`: a unit that cannot start is of no use.
    let loaded = context.load(Purpose::Run, |_| {})?;
    let stack = loaded.stack.name.clone();
    let path = unit::path(&verb.directory, &stack)?;
    let text =
        Unit { stack: &stack, environment: environment(context), command: command(context, &loaded)? }.text();
    tell_variables(context, &loaded);
    if verb.print {
        context.out.data(text.as_bytes()).map_err(Error::Output)?;
        return Ok(0);
    }
    if let Some(foreign) = is_foreign(&path)? {
        return Err(foreign);
    }
    let wants = verb.directory.join(WANTS);
    fs::create_dir_all(&wants).map_err(doing(format!("make {}", wants.display())))?;
    output::write(&path, text.as_bytes(), None)?;
    let link = link(&path);
    match symlink(target(&path), &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(doing(format!("make the link {}", link.display()))(error));
        }
        Ok(()) | Err(_) => {}
    }
    context.out.note(&format!("{} brings stack {stack} up at every boot.", path.display()));
    if Path::new(BOOTED).is_dir() {
        let name = systemd::name(&stack).unwrap_or_default();
        context.out.note(&format!(
            "`systemctl enable --now {name}` lets systemd know now, so that it also stops the stack in good order when \
             the host goes down."
        ));
    }
    Ok(0)
}

/// An error where somebody else's unit has the name.
pub fn is_foreign(path: &Path) -> Result<Option<Error>> {
    match fs::read_to_string(path) {
        Ok(text) if text.lines().next() == Some(systemd::MARK) => Ok(None),
        Ok(_) => Ok(Some(Error::Usage(format!(
            "{} was not written by `compose enable`: move it away, or give the stack another name with -p",
            path.display()
        )))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(doing(format!("read {}", path.display()))(error)),
    }
}

/// The link by which multi-user.target wants a unit.
pub fn link(unit: &Path) -> PathBuf {
    let folder = unit.parent().unwrap_or(Path::new("")).join(WANTS);
    folder.join(unit.file_name().unwrap_or_default())
}

/// The unit as its link sees it.
fn target(unit: &Path) -> PathBuf {
    Path::new("..").join(unit.file_name().unwrap_or_default())
}

/// What `x-rootfs: host` and `~` in the files mean: systemd's own PATH and HOME are others.
fn environment(context: &Context) -> Vec<(&'static str, OsString)> {
    let mut environment = vec![("PATH", OsString::from(&context.caller.path))];
    environment.extend(context.caller.home.clone().map(|home| ("HOME", home.into())));
    environment
}

/// This program with all that has led to this stack, whatever the folder it is called in.
fn command(context: &Context, loaded: &Loaded) -> Result<Vec<OsString>> {
    let program = std::env::current_exe().map_err(doing("find this program's file"))?;
    let current = std::env::current_dir().map_err(doing("find the current folder"))?;
    let global = context.global();
    let mut words: Vec<OsString> = vec![program.into()];
    let mut flag = |name: &str, value: OsString| words.extend([name.into(), value]);
    flag("--project-name", (&loaded.stack.name).into());
    flag("--project-directory", (&loaded.stack.directory).into());
    for file in &loaded.stack.files {
        if global.files.iter().any(|given| given == Path::new("-")) {
            return Err(Error::Usage(
                "what comes from standard input is not there after a reboot: write it to a file, and name that with -f"
                    .to_owned(),
            ));
        }
        flag("--file", file.into());
    }
    let listed = |variable: &str| -> Vec<String> {
        let list = context.caller.environment.get(variable).map(String::as_str).unwrap_or_default();
        list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut env_files = global.env_files.clone();
    if env_files.is_empty() {
        env_files.extend(listed("COMPOSE_ENV_FILES").into_iter().map(PathBuf::from));
    }
    for file in env_files {
        flag("--env-file", current.join(file).into());
    }
    let mut profiles = global.profiles.clone();
    if profiles.is_empty() {
        profiles = listed("COMPOSE_PROFILES");
    }
    for profile in profiles {
        flag("--profile", profile.into());
    }
    flag("--progress", "plain".into());
    Ok(words)
}

/// Names the variables that the files have from the caller's environment, which a boot does not have.
fn tell_variables(context: &mut Context, loaded: &Loaded) {
    let environment = &context.caller.environment;
    let used: Vec<String> = loaded
        .variables()
        .into_iter()
        .map(|variable| variable.name)
        .filter(|name| environment.contains_key(name) && !["PATH", "HOME"].contains(&name.as_str()))
        .collect();
    if !used.is_empty() {
        context.out.warning(&format!(
            "the files use {} from your environment, which is not there after a reboot: put them into `.env`, or into a \
             file for --env-file",
            used.join(", ")
        ));
    }
}
