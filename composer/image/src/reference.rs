//! References to images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]` in Docker's normal form (distribution/reference), an
//! image's id, or a place on disk: `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, each with `[:NAME]`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Result};

/// Where an image is, and which one it is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// In a registry.
    Registry(Named),
    /// In the store, by the digest of its configuration. Cannot be pulled.
    Id(Digest),
    /// A folder with an OCI image layout.
    Layout(Local),
    /// The same in a tar file.
    OciArchive(Local),
    /// A tar file as `docker save` writes it.
    DockerArchive(Local),
}

/// An image of a registry: the name is complete and lawful, and there is a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// An image on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    path: PathBuf,
    name: Option<String>,
}

const DOCKER_HUB: &str = "docker.io";
/// Docker's older name of its registry.
const DOCKER_HUB_INDEX: &str = "index.docker.io";
/// Where Docker Hub keeps the images that have no owner.
const OFFICIAL: &str = "library/";
/// The longest repository with its registry.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

impl Reference {
    /// Reads a reference. Relative places on disk are taken from `folder`, which is absolute.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        match text.split_once(':') {
            Some(("oci", place)) => Local::parse(text, place, folder).map(Self::Layout),
            Some(("oci-archive", place)) => Local::parse(text, place, folder).map(Self::OciArchive),
            Some(("docker-archive", place)) => Local::parse(text, place, folder).map(Self::DockerArchive),
            Some(_) | None => match Digest::parse(&format!("sha256:{text}")).or_else(|_| Digest::parse(text))
            {
                Ok(id) => Ok(Self::Id(id)),
                Err(_) => Named::parse(text).map(Self::Registry),
            },
        }
    }

    /// As one would type it: without what is Docker Hub's anyway.
    #[must_use]
    pub fn familiar(&self) -> String {
        let Self::Registry(named) = self else {
            return self.to_string();
        };
        let full = named.to_string();
        match full.strip_prefix(DOCKER_HUB).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => rest.strip_prefix(OFFICIAL).unwrap_or(rest).to_owned(),
            None => full,
        }
    }
}

impl Named {
    /// The same image by this digest and its tag.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, local) = match self {
            Self::Registry(named) => return named.fmt(f),
            Self::Id(id) => return id.fmt(f),
            Self::Layout(local) => ("oci", local),
            Self::OciArchive(local) => ("oci-archive", local),
            Self::DockerArchive(local) => ("docker-archive", local),
        };
        write!(f, "{scheme}:{}", local.path.display())?;
        match &local.name {
            Some(name) => write!(f, ":{name}"),
            None => Ok(()),
        }
    }
}

impl Local {
    fn parse(text: &str, place: &str, folder: &Path) -> Result<Self> {
        // A name in an archive has slashes and colons of its own, so the first colon ends the path (as skopeo has it).
        let (path, name) = match place.split_once(':') {
            Some((path, name)) if !name.is_empty() && !path.is_empty() => (path, Some(name)),
            Some(_) => {
                return wrong(
                    format!("`{text}` has an empty part at a `:`"),
                    "for example `oci:./image:1.0`",
                );
            }
            None => (place, None),
        };
        if path.is_empty() {
            return wrong(format!("`{text}` names no file or folder"), "for example `oci:./image`");
        }
        // `./image` and `image` are one.
        Ok(Self { path: folder.join(path).components().collect(), name: name.map(str::to_owned) })
    }

    /// The file or folder, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of the images there.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Named {
    fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return wrong("the image has no name".to_owned(), "for example `nginx:1.29`");
        }
        if text.contains(char::is_whitespace) {
            return wrong(
                format!("`{text}` is not an image, it has a space in it"),
                "for example `nginx:1.29`",
            );
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return wrong(
                format!("`{text}` is not an image but a URL"),
                &format!("without `{scheme}://`: `{rest}`"),
            );
        }
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to the registry's port.
        let slash = named.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match named[slash..].find(':') {
            Some(colon) => (&named[..slash + colon], Some(&named[slash + colon + 1..])),
            None => (named, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return wrong(
                format!("`{tag}` in `{text}` is not a tag of an image"),
                "a tag has up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the latter two",
            );
        }
        let (registry, repository) = split_name(text, name)?;
        let tag = match (&digest, tag) {
            (None, None) => Some("latest".to_owned()),
            (_, tag) => tag.map(str::to_owned),
        };
        Ok(Self { registry, repository, tag, digest })
    }

    /// The registry: a host with or without a port.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in it.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; there is one where there is no digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which goes before the tag where there are both.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Registry and repository of a name, complete.
fn split_name(text: &str, name: &str) -> Result<(String, String)> {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || has_upper(first) => {
            (first, rest)
        }
        Some(_) | None => (DOCKER_HUB, name),
    };
    if !is_registry(registry) {
        return wrong(
            format!("`{registry}` in `{text}` is not a registry's name"),
            "for example `ghcr.io` or `localhost:5000`",
        );
    }
    if has_upper(repository) && repository.to_lowercase().split('/').all(is_component) {
        let lower = text.replacen(repository, &repository.to_lowercase(), 1);
        return wrong(
            format!("an image's name has no capital letters, as `{text}` does"),
            &format!("write `{lower}`"),
        );
    }
    if !repository.split('/').all(is_component) {
        return wrong(
            format!("`{text}` is not an image"),
            "write `[REGISTRY/]NAME[:TAG]`; a name has letters, digits and single `.`, `_`, `-` between them",
        );
    }
    let registry = if registry == DOCKER_HUB_INDEX { DOCKER_HUB } else { registry };
    let repository = if registry == DOCKER_HUB && !repository.contains('/') {
        format!("{OFFICIAL}{repository}")
    } else {
        repository.to_owned()
    };
    if name.len() > LONGEST_NAME || repository.len() > LONGEST_NAME {
        return wrong("the image's name is too long".to_owned(), "255 characters at most");
    }
    Ok((registry.to_owned(), repository))
}

fn wrong<T>(message: String, help: &str) -> Result<T> {
    Err(Error::Reference { message, help: help.to_owned() })
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
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

    fn parse(text: &str) -> Result<Reference> {
        Reference::parse(text, Path::new("/work"))
    }

    /// The cases of distribution/reference's TestParseRepositoryInfo and TestParseDockerRef, and ours.
    #[test]
    fn docker_s_normal_form() {
        let hash = "ab".repeat(32);
        let short = format!("nginx@sha256:{hash}");
        let both = format!("nginx:1@sha256:{hash}");
        for (text, normal, familiar) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("nginx:1.29-alpine", "docker.io/library/nginx:1.29-alpine", "nginx:1.29-alpine"),
            ("library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("index.docker.io/nginx:1", "docker.io/library/nginx:1", "nginx:1"),
            ("index.docker.io/ann/shop", "docker.io/ann/shop:latest", "ann/shop:latest"),
            ("ann/shop", "docker.io/ann/shop:latest", "ann/shop:latest"),
            ("ann/a/b", "docker.io/ann/a/b:latest", "ann/a/b:latest"),
            ("ghcr.io/a/b__c/d-e.f:x", "ghcr.io/a/b__c/d-e.f:x", "ghcr.io/a/b__c/d-e.f:x"),
            ("ghcr.io/nginx", "ghcr.io/nginx:latest", "ghcr.io/nginx:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("localhost/x:_1", "localhost/x:_1", "localhost/x:_1"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("127.0.0.1:8000/a/b", "127.0.0.1:8000/a/b:latest", "127.0.0.1:8000/a/b:latest"),
            ("Registry/a", "Registry/a:latest", "Registry/a:latest"),
            ("localhost", "docker.io/library/localhost:latest", "localhost:latest"),
            ("a:5000", "docker.io/library/a:5000", "a:5000"),
            ("a---b", "docker.io/library/a---b:latest", "a---b:latest"),
            (&short, &format!("docker.io/library/{short}"), &short),
            (&both, &format!("docker.io/library/{both}"), &both),
        ] {
            let reference = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.to_string(), normal, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(parse(normal).unwrap(), reference, "the normal form of {text}");
            assert_eq!(parse(familiar).unwrap(), reference, "the familiar form of {text}");
        }
    }

    #[test]
    fn what_is_no_reference() {
        for text in [
            "",
            "Nginx",
            "a b",
            "nginx:",
            "nginx:-x",
            &format!("nginx:{}", "a".repeat(129)),
            "a//b",
            "a/",
            "/a",
            "-a",
            "a..b",
            "a___b",
            "a_-b",
            "https://ghcr.io/a",
            "nginx@sha256:abc",
            "nginx@md5:aa",
            "ghcr.io:x/a",
            "ghcr..io/a",
            "-x.io/a",
            "[::z]/a",
            &"a/".repeat(140),
            "oci:",
            "oci::x",
            "oci:x:",
            "docker-archive:",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(
            parse("ghcr.io/Ann/Shop:V1").unwrap_err().to_string().contains("write `ghcr.io/ann/shop:V1`")
        );
    }

    #[test]
    fn places_on_disk_and_ids() {
        let Reference::Layout(local) = parse("oci:images/a:v1").unwrap() else { panic!("not a layout") };
        assert_eq!((local.path(), local.name()), (Path::new("/work/images/a"), Some("v1")));
        let Reference::DockerArchive(local) = parse("docker-archive:/a.tar:localhost:5000/x:v1").unwrap()
        else {
            panic!("not an archive")
        };
        assert_eq!((local.path(), local.name()), (Path::new("/a.tar"), Some("localhost:5000/x:v1")));
        assert_eq!(parse("oci-archive:a.tar").unwrap().to_string(), "oci-archive:/work/a.tar");
        let id = "ab".repeat(32);
        assert_eq!(parse(&id).unwrap().to_string(), format!("sha256:{id}"));
        assert_eq!(parse(&format!("sha256:{id}")).unwrap(), parse(&id).unwrap());
    }

    #[test]
    fn the_digest_is_kept_beside_the_tag() {
        let hash = "ab".repeat(32);
        let Reference::Registry(named) = parse(&format!("a:1@sha256:{hash}")).unwrap() else {
            panic!("not named")
        };
        assert_eq!(named.tag(), Some("1"));
        assert_eq!(named.digest().unwrap().hex(), hash);
        assert_eq!((named.registry(), named.repository()), ("docker.io", "library/a"));
    }
}
