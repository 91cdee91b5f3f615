//! Times as users write them and as Docker shows them. A time is nanoseconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The clock.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads what `--since` and `--until` take, as Docker does: a duration before `now` (`1h30m`), RFC 3339, a date and
/// time or a date in the local time zone, or seconds since the Unix epoch.
///
/// # Errors
/// When it is none of them.
pub fn parse(text: &str, now: u64) -> Result<u64, String> {
    // jiff would also read `10 minutes ago`, the other way round.
    if let Some(ago) = text.parse::<SignedDuration>().ok().filter(|_| !text.contains(' ')) {
        let ago = u64::try_from(ago.as_nanos()).map_err(|_| format!("`{text}` is in the future"))?;
        return Ok(now.saturating_sub(ago));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(nanoseconds(time));
    }
    if let Ok(local) = text.parse::<DateTime>()
        && let Ok(time) = local.to_zoned(TimeZone::system())
    {
        return Ok(nanoseconds(time.timestamp()));
    }
    if let Some(time) = epoch(text) {
        return Ok(time);
    }
    Err(format!("`{text}` is not a time: give 2013-01-02T13:23:37Z, or 42m for 42 minutes ago"))
}

/// `SECONDS[.FRACTION]`, read digit by digit: a float has too few of them.
fn epoch(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn timestamp(time: u64) -> Timestamp {
    // 64 bits of nanoseconds end in the year 2554: always within jiff's range.
    Timestamp::from_nanosecond(i128::from(time)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// RFC 3339 with nine digits, as `docker logs -t` prints it.
pub fn rfc3339(time: u64) -> String {
    format!("{:.9}", timestamp(time))
}

/// RFC 3339 in the local time zone with as many digits as it takes, as Go writes times into JSON.
pub fn with_zone(time: u64) -> String {
    let zoned = timestamp(time).to_zoned(TimeZone::system());
    let format = if zoned.offset().is_zero() { "%Y-%m-%dT%H:%M:%S%.fZ" } else { "%Y-%m-%dT%H:%M:%S%.f%:z" };
    zoned.strftime(format).to_string()
}

/// Date and time with microseconds in the local time zone.
pub fn local(time: u64) -> String {
    timestamp(time).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// Seconds of the local clock since it was midnight on the first of January 1970 there.
pub fn local_seconds(time: u64) -> u64 {
    let zoned = timestamp(time).to_zoned(TimeZone::system());
    (time / 1_000_000_000).saturating_add_signed(zoned.offset().seconds().into())
}

/// The local clock, as fine as a mark every `step` seconds asks for; with the day where that says more.
pub fn mark(time: u64, step: u64, days: bool) -> String {
    let format = match (step, days) {
        (86_400.., _) => "%b %d",
        (_, true) => "%b %d %H:%M",
        (60.., false) => "%H:%M",
        (_, false) => "%H:%M:%S",
    };
    timestamp(time).to_zoned(TimeZone::system()).strftime(format).to_string()
}

/// When a process was started as ps(1) shows it: the time today, the day this year, or the year.
pub fn start(time: u64, now: u64) -> String {
    let zoned = |time| timestamp(time).to_zoned(TimeZone::system());
    let (start, now) = (zoned(time), zoned(now));
    let format = match (start.year() == now.year(), start.date() == now.date()) {
        (_, true) => "%H:%M",
        (true, false) => "%b%d",
        (false, false) => "%Y",
    };
    start.strftime(format).to_string()
}

/// Go's default form in the local time zone, as Docker's `CreatedAt` has it.
pub fn created_at(time: u64) -> String {
    timestamp(time).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// The same with as many digits as it takes, as Docker has it of networks.
pub fn created_exactly_at(time: u64) -> String {
    timestamp(time).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.f %z %Z").to_string()
}

/// How long ago, in Docker's words (go-units' `HumanDuration`).
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // go-units rounds hours to the nearest.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., hours) if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        (.., hours) if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        (.., hours) if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        (.., hours) => format!("{} years", hours / 24 / 365),
    }
}

/// The time from one moment to another; none where the clock was set back meanwhile.
pub fn between(from: u64, to: u64) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn all_of_dockers_forms_are_read() {
        let now = 1_700_000_000 * SECOND;
        assert_eq!(parse("1h30m", now), Ok(now - 5400 * SECOND));
        assert_eq!(parse("10m", now), Ok(now - 600 * SECOND));
        assert_eq!(parse("1.5s", now), Ok(now - 1_500_000_000));
        assert_eq!(parse("2023-11-14T22:13:20Z", 0), Ok(now));
        assert_eq!(parse("2023-11-15T00:13:20+02:00", 0), Ok(now));
        assert_eq!(parse("1700000000", 0), Ok(now));
        assert_eq!(parse("1700000000.25", 0), Ok(now + SECOND / 4));
        let local = DateTime::constant(2023, 11, 14, 0, 0, 0, 0).to_zoned(TimeZone::system()).unwrap();
        assert_eq!(parse("2023-11-14", 0), Ok(nanoseconds(local.timestamp())));
        assert_eq!(parse("2023-11-14T00:00:00", 0), Ok(nanoseconds(local.timestamp())));
        assert!(parse("yesterday", now).is_err());
        assert!(parse("10 minutes ago", now).unwrap_err().contains("is not a time"));
        assert!(parse("-3m", now).is_err());
    }

    #[test]
    fn times_are_printed_with_nine_digits() {
        assert_eq!(rfc3339(1_700_000_000 * SECOND + 5), "2023-11-14T22:13:20.000000005Z");
    }

    #[test]
    fn durations_are_told_in_dockers_words() {
        let told = |seconds: u64| human(Duration::from_secs(seconds));
        assert_eq!(told(0), "Less than a second");
        assert_eq!(told(1), "1 second");
        assert_eq!(told(59), "59 seconds");
        assert_eq!(told(60), "About a minute");
        assert_eq!(told(150), "2 minutes");
        assert_eq!(told(3600), "About an hour");
        assert_eq!(told(2 * 3600), "2 hours");
        assert_eq!(told(3 * 86400), "3 days");
        assert_eq!(told(21 * 86400), "3 weeks");
        assert_eq!(told(90 * 86400), "3 months");
        assert_eq!(told(800 * 86400), "2 years");
    }
}
