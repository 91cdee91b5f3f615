//! `healthcheck` and `x-probe`.

use std::time::Duration;

use crate::model::{CheckTimes, Healthcheck, Probe, Test};
use crate::values;
use crate::yaml::Node;

/// With Docker's defaults; `None` where there is none, or it is switched off.
pub(super) fn check(service: &Node) -> Option<Healthcheck> {
    let check = service.get("healthcheck");
    if is_off(service) {
        return None;
    }
    let words = check.and_then(|check| check.get("test")).and_then(values::texts);
    let test = match words.as_deref().and_then(<[String]>::split_first) {
        Some((kind, rest)) if kind == "CMD" => Test::Command(rest.to_vec()),
        Some((kind, rest)) if kind == "CMD-SHELL" => {
            let shell = ["/bin/sh", "-c"].into_iter().map(str::to_owned);
            Test::Command(shell.chain(rest.iter().cloned()).collect())
        }
        Some(_) => return None,
        None => Test::Probes(Some(probes(service.get("x-probe")?)).filter(|probes| !probes.is_empty())?),
    };
    Some(times(service).of(test))
}

/// Whether the file switches it off: what an image brings as well.
pub(super) fn is_off(service: &Node) -> bool {
    let check = service.get("healthcheck");
    let words = check.and_then(|check| check.get("test")).and_then(values::texts);
    values::flag(check.and_then(|check| check.get("disable")))
        || words.is_some_and(|words| words.first().is_some_and(|kind| kind == "NONE"))
}

/// What the file says of times. Zero means the default.
pub(super) fn times(service: &Node) -> CheckTimes {
    let check = service.get("healthcheck");
    let time = |key: &str| -> Option<Duration> {
        check?.get(key).and_then(values::time).filter(|time| !time.is_zero())
    };
    let retries = check.and_then(|check| check.get("retries")).and_then(values::whole);
    CheckTimes {
        interval: time("interval"),
        timeout: time("timeout"),
        retries: retries.and_then(|retries| u32::try_from(retries).ok()).filter(|retries| *retries > 0),
        start_period: time("start_period"),
        start_interval: time("start_interval"),
    }
}

/// The text of the log comes first: before it nothing else is worth trying.
fn probes(node: &Node) -> Vec<Probe> {
    let port = |node: &Node| node.int_value().and_then(|port| u16::try_from(port).ok());
    let log = values::text(node.get("log")).map(Probe::Log);
    let tcp = node.get("tcp").and_then(port).map(Probe::Tcp);
    let http = node.get("http").and_then(|http| {
        let path = values::text(http.get("path")).filter(|path| !path.is_empty());
        Some(Probe::Http {
            port: http.get("port").and_then(port)?,
            path: path.unwrap_or_else(|| "/".to_owned()),
        })
    });
    [log, tcp, http].into_iter().flatten().collect()
}
