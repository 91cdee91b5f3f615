//! References to images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]` (the grammar of distribution/reference), or a place on
//! disk: `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, each with `[:NAME]`.

/// What is wrong with a reference, and a way out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub message: String,
    pub help: String,
}

/// The longest repository with its registry.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;
/// Images that are no registry's but files: an OCI layout, the same in an archive, what `docker save` writes.
const ON_DISK: [&str; 3] = ["oci", "oci-archive", "docker-archive"];

/// What is wrong with a reference to an image; `None` where nothing is.
pub(crate) fn wrong(text: &str) -> Option<Wrong> {
    if text.is_empty() {
        return say("the image has no name".to_owned(), "for example `nginx:1.29`");
    }
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        // An image's id.
        return None;
    }
    if let Some((kind, place)) = text.split_once(':').filter(|(kind, _)| ON_DISK.contains(kind)) {
        let is_whole = place.split(':').all(|part| !part.is_empty());
        return if is_whole {
            None
        } else {
            say(format!("`{text}` names no file or folder"), &format!("for example `{kind}:./image`"))
        };
    }
    if text.contains(char::is_whitespace) {
        return say(format!("`{text}` is not an image: it has a space in it"), "for example `nginx:1.29`");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return say(
            format!("`{text}` is not an image but a URL"),
            &format!("without `{scheme}://`: `{rest}`"),
        );
    }
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        return say(format!("`{digest}` is not a digest"), "a digest is `sha256:` and 64 hexadecimal digits");
    }
    // A colon after the last slash begins a tag; one before it belongs to the registry's port.
    let slash = named.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match named[slash..].find(':') {
        Some(colon) => (&named[..slash + colon], Some(&named[slash + colon + 1..])),
        None => (named, None),
    };
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        let message = if tag.is_empty() {
            format!("`{text}` has a `:` and no tag after it")
        } else {
            format!("`{tag}` is not a tag of an image")
        };
        return say(
            message,
            "a tag has up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the latter two",
        );
    }
    wrong_name(text, name)
}

/// What is wrong with the name in a reference: what stands before tag and digest.
fn wrong_name(text: &str, name: &str) -> Option<Wrong> {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || has_upper(first) => {
            (Some(first), rest)
        }
        Some(_) | None => (None, name),
    };
    if let Some(registry) = registry.filter(|registry| !is_registry(registry)) {
        return say(
            format!("`{registry}` is not a registry's name"),
            "for example `ghcr.io` or `localhost:5000`",
        );
    }
    if has_upper(repository) {
        let lower = text.replacen(repository, &repository.to_lowercase(), 1);
        return say(format!("an image's name has no capital letters: `{text}`"), &format!("write `{lower}`"));
    }
    if name.len() > LONGEST_NAME {
        return say("the image's name is too long".to_owned(), "255 characters at most");
    }
    if !repository.split('/').all(is_component) {
        return say(
            format!("`{text}` is not an image"),
            "write `[REGISTRY/]NAME[:TAG]`; a name has letters, digits and single `.`, `_`, `-` between them",
        );
    }
    None
}

fn say(message: String, help: &str) -> Option<Wrong> {
    Some(Wrong { message, help: help.to_owned() })
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(text: &str) -> bool {
    text.len() <= LONGEST_TAG
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_registry(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        // An IPv6 address in brackets.
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Words of lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends =
        bytes.first().is_some_and(|byte| is_word(*byte)) && bytes.last().is_some_and(|byte| is_word(*byte));
    ends && bytes.split(|byte| is_word(*byte)).all(|between| match between {
        [] | b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|byte| *byte == b'-'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let hash = "a".repeat(64);
        for text in [
            "nginx",
            "nginx:1.29-alpine",
            "library/nginx",
            "ghcr.io/a/b__c/d-e.f:x",
            "localhost:5000/a",
            "localhost/a:_1",
            "[::1]:5000/a",
            "Registry/a",
            &format!("nginx@sha256:{hash}"),
            &format!("nginx:1@sha256:{hash}"),
            &hash,
        ] {
            assert_eq!(wrong(text), None, "{text}");
        }
        for text in [
            "",
            "Nginx",
            "a b",
            "nginx:",
            "nginx:-x",
            "a//b",
            "a/",
            "-a",
            "a..b",
            "a___b",
            "https://ghcr.io/a",
            "nginx@sha256:abc",
            "nginx@md5:aa",
            "ghcr.io:x/a",
        ] {
            assert!(wrong(text).is_some(), "{text}");
        }
        assert_eq!(wrong("ghcr.io/Ann/Shop:V1").unwrap().help, "write `ghcr.io/ann/shop:V1`");
    }
}
