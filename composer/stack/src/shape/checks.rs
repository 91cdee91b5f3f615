//! Rules for strings: names, users, signals, CPUs, policies.

use std::net::IpAddr;

use super::{Conversion, scalar};
use crate::restart::CONDITIONS;
use crate::spec::{COUNT, Check, Shape, Wrong};
use crate::suggest::nearest;
use crate::yaml::{Node, Resolved, Scalar, Value};
use crate::{cpuset, limits, signal};

/// The same under `deploy`, without fractions.
pub(crate) const WHOLE_PIDS: Shape = Shape::Bounded(-1, limits::MOST_PIDS);

/// Processes and threads; -1 is no limit.
pub(crate) const PIDS: Shape = Shape::Number(-1, limits::MOST_PIDS);

/// `scale` and `replicas`. A host has room for fewer containers; Docker Compose shows any number.
pub(crate) const REPLICAS: Shape = Shape::Short(&Conversion {
    what: "a whole number",
    forms: &[],
    lengthen: |node, name, shaper| {
        let Value::Scalar(scalar) = &node.value else {
            return Some(node);
        };
        if scalar::whole(scalar).is_none_or(|count| count <= limits::MOST_REPLICAS) {
            return Some(node);
        }
        shaper.doubt(&node, format!("`{name}` must be at most {}", limits::MOST_REPLICAS));
        shaper.lenient.then_some(node)
    },
    long: COUNT,
});

/// `retries` of a health check.
pub(crate) const RETRIES: Shape = Shape::Short(&Conversion {
    what: "a whole number",
    forms: &[],
    lengthen: super::not_negative,
    long: Shape::Number(0, i32::MAX as i64),
});

fn wrong(message: String, help: &'static str) -> Option<Wrong> {
    Some(Wrong { message, help: help.into() })
}

/// The nearest of some words, or another way out.
fn did_you_mean(word: &str, words: &[&'static str], otherwise: &str) -> String {
    nearest(word, words.iter().copied())
        .map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
}

/// `container_name`.
pub(crate) const CONTAINER_NAME: Shape = Shape::Checked(&Check {
    pattern: Some(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]+$"),
    refused: |text| !has_long_name(text),
    wrong: |text| {
        let good = text.len() > 1 && is_object_name(text);
        if good {
            return None;
        }
        wrong(
            format!("`{text}` is not a container name"),
            "two or more letters, digits, `_`, `.` and `-`, beginning with a letter or digit",
        )
    },
});

/// `name` of a volume.
pub(crate) const VOLUME_NAME: Shape = Shape::Checked(&Check {
    pattern: Some(r"^([a-zA-Z0-9][a-zA-Z0-9_.-]*)?$"),
    refused: never,
    wrong: |text| {
        // An empty one, as an unset variable leaves it, is none.
        if text.is_empty() || is_object_name(text) {
            return None;
        }
        wrong(
            format!("`{text}` is not a volume's name"),
            "letters, digits, `_`, `.` and `-`, beginning with a letter or digit",
        )
    },
});

/// Docker Compose's pattern for names of containers is not anchored.
fn has_long_name(text: &str) -> bool {
    let inside = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && inside(&pair[1]))
}

fn never(_: &str) -> bool {
    false
}

fn always(_: &str) -> bool {
    true
}

fn is_object_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// `mac_address`.
pub(crate) const MAC_ADDRESS: Shape = Shape::Checked(&Check {
    pattern: Some(r"^(([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2})?$"),
    refused: never,
    wrong: |text| {
        let parts: Vec<&str> = text.split([':', '-']).collect();
        let good = parts.len() == 6
            && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
        if text.is_empty() || good {
            return None;
        }
        wrong(
            format!("`{text}` is not a hardware address"),
            "six pairs of hexadecimal digits: `02:42:ac:11:00:02`",
        )
    },
});

/// `hostname`.
pub(crate) const HOSTNAME: Shape = Shape::Checked(&Check { pattern: None, wrong: host_name, refused: never });

/// `domainname`: an empty one, as an unset variable leaves it, is none.
pub(crate) const DOMAINNAME: Shape = HOSTNAME;

/// What sethostname(2) takes and Docker accepts (RFC 1123, with dots).
fn host_name(text: &str) -> Option<Wrong> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if text.is_empty() || (text.len() <= 64 && text.split('.').all(label)) {
        return None;
    }
    wrong(format!("`{text}` is not a host name"), "letters, digits, `-` and dots, 64 at most")
}

/// `user`.
pub(crate) const USER: Shape = Shape::Checked(&Check {
    pattern: None,
    refused: never,
    wrong: |text| {
        let part =
            |part: &str| !part.is_empty() && !part.contains(char::is_whitespace) && !part.contains('/');
        // A part of digits is an id, which has 32 bits; the last one means "none".
        let id = |part: &str| {
            !part.bytes().all(|b| b.is_ascii_digit()) || part.parse().is_ok_and(|id: u32| id < u32::MAX)
        };
        let mut parts = text.split(':');
        // An empty one, as an unset variable leaves it, is none.
        if text.is_empty() || (parts.clone().count() <= 2 && parts.all(|text| part(text) && id(text))) {
            return None;
        }
        wrong(
            format!("`{text}` is not a user"),
            "write a user, or a user and a group: `1000`, `www-data`, `1000:1000`",
        )
    },
});

/// `working_dir`.
pub(crate) const WORKING_DIR: Shape = Shape::Checked(&Check {
    pattern: Some(r"^(/|$)"),
    refused: never,
    wrong: |text| {
        if text.is_empty() || text.starts_with('/') {
            return None;
        }
        let message = format!("`working_dir` must be an absolute path, not `{text}`");
        Some(Wrong { message, help: format!("begin it with a slash: `/{text}`").into() })
    },
});

/// `restart`.
pub(crate) const RESTART: Shape = Shape::Checked(&Check {
    pattern: Some(r"^(no|always|unless-stopped|on-failure(:\+?[0-9]+)?)?$"),
    refused: never,
    wrong: |text| {
        let (policy, count) =
            text.split_once(':').map_or((text, None), |(policy, count)| (policy, Some(count)));
        let good = match count {
            None => matches!(policy, "" | "no" | "always" | "on-failure" | "unless-stopped"),
            Some(count) => policy == "on-failure" && count.parse::<u32>().is_ok(),
        };
        if good {
            return None;
        }
        const WORDS: [&str; 4] = ["no", "always", "on-failure", "unless-stopped"];
        let (message, help) = match count {
            Some(count) if policy == "on-failure" => {
                (format!("`{count}` is not a number of attempts"), "for example `on-failure:5`".to_owned())
            }
            Some(count) if WORDS.contains(&policy) => (
                format!("`{policy}` takes no number of attempts"),
                format!("write `{policy}`, or `on-failure:{count}`"),
            ),
            Some(_) | None => {
                let all = "it may be `\"no\"`, `always`, `on-failure`, `on-failure:5` or `unless-stopped`";
                (format!("`{text}` is not a restart policy"), did_you_mean(policy, &WORDS, all))
            }
        };
        Some(Wrong { message, help: help.into() })
    },
});

/// `deploy.restart_policy.condition`.
pub(crate) const RESTART_CONDITION: Shape = Shape::Checked(&Check {
    pattern: Some(r"^(none|on-failure|any|no|always|unless-stopped)?$"),
    refused: never,
    wrong: |text| {
        if text.is_empty() || CONDITIONS.contains(&text) {
            return None;
        }
        let message = format!("`{text}` is not a condition of a restart policy");
        let help = did_you_mean(text, &CONDITIONS, "it may be `none`, `on-failure` or `any`");
        Some(Wrong { message, help: help.into() })
    },
});

/// `pull_policy`, as loosely as Compose looks at it.
pub(crate) const PULL_POLICY: Shape = Shape::Checked(&Check {
    pattern: Some(r"always|never|build|if_not_present|missing|refresh|daily|weekly|every_[0-9]+[wdhms]"),
    refused: always,
    wrong: |text| {
        const WORDS: [&str; 8] =
            ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
        let every = text.match_indices("every_").any(|(at, word)| {
            let rest = text[at + word.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
            rest.len() < text.len() - at - word.len() && rest.starts_with(['w', 'd', 'h', 'm', 's'])
        });
        if every || WORDS.iter().any(|word| text.contains(word)) {
            return None;
        }
        wrong(
            format!("`{text}` is not a pull policy"),
            "it may be `always`, `missing`, `never`, `build`, `daily`, `weekly` or `every_12h`",
        )
    },
});

const ADDRESS: &str =
    "write an address of this host, as `127.0.0.1` or `::1`: `localhost` and other names will not do";

/// `host_ip` of a port.
pub(crate) const IP: Shape = Shape::Checked(&Check {
    pattern: None,
    refused: always,
    wrong: |text| {
        if text.parse::<IpAddr>().is_ok() {
            return None;
        }
        wrong(format!("`{text}` is not an IP address"), ADDRESS)
    },
});

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// `protocol` of a port.
pub(crate) const PROTOCOL: Shape = Shape::Checked(&Check {
    pattern: Some(r"^([tT][cC][pP]|[uU][dD][pP]|[sS][cC][tT][pP])?$"),
    refused: never,
    wrong: |text| {
        if text.is_empty() || PROTOCOLS.iter().any(|known| text.eq_ignore_ascii_case(known)) {
            return None;
        }
        let help = did_you_mean(text, &PROTOCOLS, "it may be `tcp`, `udp` or `sctp`");
        Some(Wrong { message: format!("`{text}` is not a protocol"), help: help.into() })
    },
});

/// `x-bandwidth`: bits a second.
pub(crate) const BIT_RATE: Shape = Shape::Checked(&Check {
    pattern: Some(r"^([0-9]*[1-9][0-9]*\.?[0-9]*[kmg]?|[0-9]*\.[0-9]*[1-9][0-9]*[kmg])bit$"),
    refused: always,
    wrong: |text| {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &text[..text.len() - unit.len()];
        if number.parse::<f64>().is_ok() && ["bit", "kbit", "mbit", "gbit"].contains(&unit) {
            if crate::rate::parse(text).is_some() {
                return None;
            }
            return wrong(
                format!("`{text}` is no rate that anything could pass"),
                "write at least `1bit`, or remove the limit; a service without any network has `network_mode: none`",
            );
        }
        wrong(format!("`{text}` is not a rate"), "write a number with bit, kbit, mbit or gbit: `10mbit`")
    },
});

/// `published` of a port: a port, a range, or nothing.
pub(crate) const PUBLISHED: Shape = Shape::Late(&Conversion {
    what: "a port or a range of ports",
    forms: &[crate::spec::INT],
    lengthen: |node, name, shaper| {
        let Value::Scalar(scalar) = &node.value else {
            return Some(node);
        };
        if matches!(scalar.resolve(), Resolved::Float(_) | Resolved::Bool(_)) {
            return shaper.wrong_type(&node, name, "a port or a range of ports");
        }
        let text = scalar::spelled(scalar);
        let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let good = text.is_empty() || (port(first) && port(last));
        if !good {
            shaper
                .doubt(&node, format!("`{text}` is neither a port nor a range of ports"))
                .help("write a number from 1 to 65535, or two: `8000-8010`");
            if !shaper.lenient {
                return None;
            }
        }
        Some(Node { value: Value::Scalar(Scalar::text(text)), ..node })
    },
    long: Shape::Text,
});

/// A signal's name or number.
pub(crate) const SIGNAL: Shape = Shape::Checked(&Check {
    pattern: None,
    refused: never,
    wrong: |text| {
        if text.is_empty() || signal::parse(text).is_some() {
            return None;
        }
        let bare = text.to_ascii_uppercase();
        let near = nearest(bare.strip_prefix("SIG").unwrap_or(&bare), signal::names());
        let help = near.map_or("see signal(7)".into(), |near| format!("did you mean `SIG{near}`?").into());
        Some(Wrong { message: format!("`{text}` is not a signal"), help })
    },
});

/// A list of CPUs.
pub(crate) const CPUSET: Shape = Shape::Checked(&Check {
    pattern: Some(r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$"),
    refused: never,
    wrong: |text| {
        if text.is_empty() || cpuset::parse(text).is_some() {
            return None;
        }
        wrong(format!("`{text}` is not a list of CPUs"), "write numbers and ranges: `\"0-2,4\"`")
    },
});

/// Memory nodes, `0-1,3`.
pub(crate) const CPUSET_MEMS: Shape = Shape::Checked(&Check {
    pattern: Some(r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$"),
    refused: never,
    wrong: |text| {
        if text.is_empty() || cpuset::parse(text).is_some() {
            return None;
        }
        wrong(format!("`{text}` is not a list of memory nodes"), "write numbers and ranges: `\"0-1,3\"`")
    },
});
