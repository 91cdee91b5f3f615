//! `run --volume`.

use std::collections::BTreeMap;
use std::path::Path;

use composer_stack::{Mount, MountKind, MountOptions, Volume};

/// Reads `SOURCE:TARGET[:ro|rw]`, or `TARGET` for a volume without a name. A source that begins with `/`, `.` or `~`
/// is the host's.
pub fn parse(
    text: &str,
    current: &Path,
    home: Option<&Path>,
    volumes: &BTreeMap<String, Volume>,
) -> Result<Mount, String> {
    let wrong = |why: &str| format!("`--volume {text}`: {why}; it is `SOURCE:TARGET` or `SOURCE:TARGET:ro`");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, None),
        [source, target] => (Some(source), target, None),
        [source, target, mode] => (Some(source), target, Some(mode)),
        _ => return Err(wrong("there are too many `:` in it")),
    };
    if !target.starts_with('/') {
        return Err(wrong("the target is no absolute path"));
    }
    let read_only = match mode {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(other) => return Err(wrong(&format!("`{other}` is neither `ro` nor `rw`"))),
    };
    let bind = |source| MountKind::Bind { source, create_host_path: true };
    let kind = match source {
        None => MountKind::Anonymous,
        Some("") => return Err(wrong("the source is missing")),
        Some("~") => bind(home.ok_or_else(|| wrong("nobody knows what `~` is"))?.to_owned()),
        Some(path) if path.starts_with("~/") => {
            bind(home.ok_or_else(|| wrong("nobody knows what `~` is"))?.join(&path[2..]))
        }
        Some(path) if path.starts_with(['/', '.']) => bind(clean(&current.join(path))),
        Some(key) if volumes.contains_key(key) => MountKind::Volume { source: key.to_owned() },
        Some(key) => {
            return Err(format!(
                "`--volume {text}`: the file has no volume {key:?}: name it under `volumes:`, or write `./{key}` for a folder here"
            ));
        }
    };
    Ok(Mount { target: target.to_owned(), read_only, kind, options: MountOptions::default() })
}

/// Without `.`; `..` stays, as what it means is for the filesystem to say.
fn clean(path: &Path) -> std::path::PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Mount, String> {
        let volume = Volume { name: "s_data".to_owned(), external: false, ..Volume::default() };
        let volumes = BTreeMap::from([("data".to_owned(), volume)]);
        parse(text, Path::new("/here"), Some(Path::new("/home/me")), &volumes)
    }

    #[test]
    fn sources_are_folders_or_volumes() {
        let bind = |source: &str| MountKind::Bind { source: source.into(), create_host_path: true };
        for (text, kind) in [
            ("/a:/t", bind("/a")),
            ("./a:/t", bind("/here/a")),
            (".:/t", bind("/here")),
            ("~/a:/t", bind("/home/me/a")),
            ("~:/t", bind("/home/me")),
            ("data:/t", MountKind::Volume { source: "data".to_owned() }),
            ("/t", MountKind::Anonymous),
        ] {
            let mount = parsed(text).unwrap();
            assert_eq!((mount.target.as_str(), mount.read_only, mount.kind), ("/t", false, kind), "{text}");
        }
        assert!(parsed("/a:/t:ro").unwrap().read_only);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("/a:t", "no absolute path"),
            ("/a:/t:rx", "neither `ro` nor `rw`"),
            ("/a:/t:ro:x", "too many"),
            (":/t", "source is missing"),
            ("other:/t", "no volume \"other\""),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
    }
}
