//! What an image says of itself becomes part of its service, where the file says nothing else.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use composer_image::{Config, Healthcheck as ImageCheck, Run};
use composer_stack::{
    CheckTimes, Healthcheck, Hook, ImageSource, Mount, MountKind, MountOptions, Service, Test, signal,
};

/// Docker's rules (moby's `daemon/commit.go`, `merge`).
pub(super) fn apply(service: &mut Service, source: &ImageSource, config: &Config) {
    let run = &config.run;
    program(service, run);
    environment(&mut service.environment, &run.env);
    for (key, value) in &run.labels {
        service.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    fill(&mut service.working_dir, &run.working_dir);
    fill(&mut service.user, &run.user);
    if !source.has_stop_signal
        && let Some(signal) = signal::parse(&run.stop_signal)
    {
        service.stop_signal = signal;
    }
    exposed(&mut service.expose, &run.exposed_ports);
    volumes(&mut service.mounts, &run.volumes);
    service.healthcheck = healthcheck(service.healthcheck.take(), source, run);
}

/// What an image says that cannot be done, and is passed over.
pub(super) fn doubts(service: &Service, source: &ImageSource, config: &Config) -> Vec<String> {
    let run = &config.run;
    let doubt = |what: String| format!("service {}: its image `{}` {what}", service.name, source.reference);
    let signal = &run.stop_signal;
    let is_odd = !source.has_stop_signal && !signal.is_empty() && signal::parse(signal).is_none();
    let odd = is_odd.then(|| {
        doubt(format!("asks for the stop signal {signal:?}, which there is not: it is stopped by SIGTERM"))
    });
    let volumes = run.volumes.iter().filter(|target| !target.starts_with('/'));
    let volumes = volumes.map(|target| {
        doubt(format!("asks for a volume at {target:?}, which is no absolute path: it gets none there"))
    });
    odd.into_iter().chain(volumes).collect()
}

/// The same for a step that runs in an image of its own, with the environment of its service in the file: what the step
/// says goes before that, and that before the image.
pub(super) fn step(hook: &mut Hook, file: &BTreeMap<String, String>, config: &Config) {
    let run = &config.run;
    hook.command.splice(0..0, run.entrypoint.iter().cloned());
    for (key, value) in file {
        hook.environment.entry(key.clone()).or_insert_with(|| value.clone());
    }
    environment(&mut hook.environment, &run.env);
    fill(&mut hook.working_dir, &run.working_dir);
    fill(&mut hook.user, &run.user);
}

/// What the file does not say is the image's, where that says anything.
fn fill(own: &mut Option<String>, image: &str) {
    if own.is_none() && !image.is_empty() {
        *own = Some(image.to_owned());
    }
}

/// An entrypoint of the file's takes the image's command away; an empty one only its entrypoint.
fn program(service: &mut Service, run: &Run) {
    let is_empty = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&service.entrypoint) {
        if is_empty(&service.command) {
            service.command = Some(run.cmd.clone());
        }
        if service.entrypoint.is_none() {
            service.entrypoint = Some(run.entrypoint.clone());
        }
    }
}

fn environment(own: &mut BTreeMap<String, String>, image: &[String]) {
    for variable in image {
        let (key, value) = variable.split_once('=').unwrap_or((variable, ""));
        own.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// What is no port, as `nat.ParsePort` of Docker's sees it, is left out, and so is what comes when all ports there are
/// could have been named.
fn exposed(own: &mut Vec<String>, image: &[String]) {
    let bare = |port: &str| port.strip_suffix("/tcp").unwrap_or(port).to_owned();
    let mut known: HashSet<String> = own.iter().map(|port| bare(port)).collect();
    let mut left = u32::from(u16::MAX);
    for word in image {
        let Some(count) = ports(word).filter(|count| *count <= left) else { continue };
        if known.insert(bare(word)) {
            left -= count;
            own.push(word.clone());
        }
    }
}

/// How many ports `80`, `53/udp` or `8000-8010/tcp` are.
fn ports(word: &str) -> Option<u32> {
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).map(u32::from);
    let (first, last) = (number(first)?, number(last)?);
    let known = ["tcp", "udp", "sctp"].contains(&protocol);
    (known && first <= last).then(|| last - first + 1)
}

/// Volumes without a name, where nothing is mounted by the file.
fn volumes(mounts: &mut Vec<Mount>, targets: &[String]) {
    let plain = |path: &str| path.trim_end_matches('/').to_owned();
    for target in targets.iter().filter(|target| target.starts_with('/')) {
        let target = plain(target);
        if !target.is_empty() && !mounts.iter().any(|mount| plain(&mount.target) == target) {
            mounts.push(Mount {
                target,
                read_only: false,
                kind: MountKind::Anonymous,
                options: MountOptions::default(),
            });
        }
    }
}

/// The file's test goes before the image's, and so do its times one by one.
fn healthcheck(own: Option<Healthcheck>, source: &ImageSource, run: &Run) -> Option<Healthcheck> {
    let times = source.times.clone();
    let image = run.healthcheck.as_ref();
    match (own, image) {
        _ if source.unprobed => None,
        (Some(own), Some(image)) if matches!(own.test, Test::Command(_)) => {
            Some(times.or(times_of(image)).of(own.test))
        }
        (Some(own), _) => Some(own),
        (None, Some(image)) => Some(times.or(times_of(image)).of(test(image, &run.shell)?)),
        (None, None) => None,
    }
}

fn test(check: &ImageCheck, shell: &[String]) -> Option<Test> {
    let (kind, rest) = check.test.split_first()?;
    match kind.as_str() {
        "CMD" => Some(Test::Command(rest.to_vec())),
        "CMD-SHELL" => {
            let plain = ["/bin/sh".to_owned(), "-c".to_owned()];
            let shell = if shell.is_empty() { &plain } else { shell };
            Some(Test::Command(shell.iter().chain(rest).cloned().collect()))
        }
        _ => None,
    }
}

/// Shorter times than Docker takes (moby's `MinimumDuration`) count as the least.
fn times_of(check: &ImageCheck) -> CheckTimes {
    let least = Duration::from_millis(1);
    let time = |nanoseconds: i64| {
        let time = u64::try_from(nanoseconds).ok().filter(|time| *time > 0)?;
        Some(Duration::from_nanos(time).max(least))
    };
    CheckTimes {
        interval: time(check.interval),
        timeout: time(check.timeout),
        retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0),
        start_period: time(check.start_period),
        start_interval: time(check.start_interval),
    }
}
