//! Programs of the host's that prepare a root filesystem before it is entered: `createContainer` hooks of OCI's runtime
//! specification, which descriptions of devices have. They see the host's files, and the container's namespaces.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, openat};
use serde_json::json;

use crate::failure::{Doing, Result, StartFailure};
use crate::spec::{ContainerSpec, HookSpec, RootSpec};
use crate::tree::on_host;
use crate::{mount, pidfd};

const VERSION: &str = "1.2.0";
/// As much of what a hook says as is told of one that fails, in bytes.
const SAID: u64 = 1000;

/// Runs all, one after another. The root filesystem lies over its upper folder in this mount namespace.
pub fn run(spec: &ContainerSpec) -> Result<()> {
    let Some(hooks) = &spec.hooks else { return Ok(()) };
    let (RootSpec::Layers { upper, work, .. } | RootSpec::Host { upper, work, .. }) = &spec.root;
    bundle(work, upper, spec.read_only).doing("make the bundle of", "its hooks")?;
    // This process has another number inside, where it is the first.
    let pid: u32 = fs::read_link("/proc/self")
        .ok()
        .and_then(|link| link.to_str()?.parse().ok())
        .unwrap_or_else(std::process::id);
    let state = json!({
        "ociVersion": VERSION, "id": hooks.id, "status": "creating", "pid": pid, "bundle": work,
    });
    hooks.hooks.iter().try_for_each(|hook| {
        let failed = |why: String| StartFailure::because("run the hook", hook.path.display(), why);
        let said = self::file("hook").doing("keep the words of", hook.path.display())?;
        let status =
            finished(hook, work, &state.to_string(), &said).doing("run the hook", hook.path.display())?;
        let words = words(said);
        match status {
            None => Err(failed(format!("it took more than {} s: {words}", hook.timeout.unwrap_or(0)))),
            Some(status) if !status.success() => Err(failed(format!("{status}: {words}"))),
            Some(_) => Ok(()),
        }
    })
}

/// A folder in memory that nobody else sees and that goes with the host's mounts, in a place that is not needed any
/// more: overlayfs keeps its work folder open.
fn bundle(work: &Path, root: &Path, read_only: bool) -> io::Result<()> {
    let memory = mount::filesystem("tmpfs", &[("mode", Some("700")), ("size", Some("1m"))], mount::INERT)?;
    let config = json!({ "ociVersion": VERSION, "root": { "path": root, "readonly": read_only } });
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&memory, "config.json", flags, Mode::from_raw_mode(0o600))?;
    File::from(file).write_all(config.to_string().as_bytes())?;
    mount::attach(memory, on_host(work)?)
}

fn file(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
}

/// How it ended; `None` where its time was over.
fn finished(hook: &HookSpec, folder: &Path, state: &str, said: &File) -> io::Result<Option<ExitStatus>> {
    let mut input = file("state")?;
    input.write_all(state.as_bytes())?;
    input.rewind()?;
    let mut args = hook.args.iter();
    let mut command = Command::new(&hook.path);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).env_clear().current_dir(folder).stdin(input);
    command.envs(hook.env.iter().filter_map(|word| word.split_once('=')));
    let mut child = command.stdout(said.try_clone()?).stderr(said.try_clone()?).spawn()?;
    if let Some(seconds) = hook.timeout
        && !ends_within(&child, seconds)?
    {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    Ok(Some(child.wait()?))
}

fn ends_within(child: &Child, seconds: u32) -> io::Result<bool> {
    let pidfd: OwnedFd = pidfd::open(child.id().cast_signed())?;
    let time = PollTimeout::try_from(u64::from(seconds).saturating_mul(1000)).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], time)? > 0)
}

fn words(mut said: File) -> String {
    let mut text = Vec::new();
    let read = said.rewind().and_then(|()| said.take(SAID).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(error) => error.to_string(),
    }
}
