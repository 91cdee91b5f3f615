//! `image`, `platform` and `pull_policy`.

use std::time::Duration;

use super::health;
use crate::model::{CheckTimes, ImageSource, ImageUse, PullPolicy, Rootfs};
use crate::values;
use crate::yaml::Node;

/// The image of a service, where it has one.
pub(super) fn source(service: &Node) -> Option<Rootfs> {
    let text = |key: &str| values::text(service.get(key)).filter(|text| !text.is_empty());
    Some(Rootfs::Source(Box::new(ImageSource {
        reference: text("image")?,
        platform: text("platform"),
        pull: text("pull_policy").map(|text| policy(&text)).unwrap_or_default(),
        has_stop_signal: text("stop_signal").is_some(),
        unprobed: health::is_off(service),
        times: health::times(service),
    })))
}

/// An image besides the service's own.
pub(super) fn other(reference: &str, platform: Option<String>) -> ImageUse {
    ImageUse::Source(Box::new(ImageSource {
        reference: reference.to_owned(),
        platform,
        pull: PullPolicy::Missing,
        has_stop_signal: false,
        unprobed: false,
        times: CheckTimes::default(),
    }))
}

const DAY: u64 = 24 * 60 * 60;

/// What is to be built is not pulled while it is there: `build`, which nothing here does, and words that Docker Compose
/// lets pass too count as `missing`.
fn policy(text: &str) -> PullPolicy {
    match text {
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        "daily" => PullPolicy::After(Duration::from_secs(DAY)),
        "weekly" => PullPolicy::After(Duration::from_secs(7 * DAY)),
        _ => text.strip_prefix("every_").and_then(every).map_or(PullPolicy::Missing, PullPolicy::After),
    }
}

/// Numbers with units of weeks, days, hours, minutes and seconds: `1d12h`.
fn every(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0u64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b'w' => 7 * DAY,
            b'd' => DAY,
            b'h' => 60 * 60,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let after = |seconds| PullPolicy::After(Duration::from_secs(seconds));
        for (text, expected) in [
            ("always", PullPolicy::Always),
            ("never", PullPolicy::Never),
            ("missing", PullPolicy::Missing),
            ("if_not_present", PullPolicy::Missing),
            ("build", PullPolicy::Missing),
            ("daily", after(86_400)),
            ("weekly", after(604_800)),
            ("every_12h", after(43_200)),
            ("every_1d2h3m4s", after(86_400 + 7_384)),
            ("every_99999999999999999999w", PullPolicy::Missing),
        ] {
            assert_eq!(policy(text), expected, "{text}");
        }
    }
}
