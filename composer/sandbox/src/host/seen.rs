//! Which folders were looked at, and when they last changed: whether a look would find the same again.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Twice the longest tick of a kernel: times of files are not finer.
const TICK: i128 = 20_000_000;

/// Folders with the times of their last changes (of entries, owners and permissions), in nanoseconds.
pub struct Seen {
    since: i128,
    folders: Vec<(PathBuf, i128)>,
}

impl Seen {
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { since: now.as_nanos().cast_signed(), folders: Vec::new() }
    }

    /// To be called before the folder is read.
    pub fn add(&mut self, folder: PathBuf, metadata: &Metadata) {
        let changed = changed(metadata);
        // What comes within the same tick would not show: such a folder counts as changed the next time.
        self.folders.push((folder, if changed + TICK < self.since { changed } else { 0 }));
    }

    /// Names may hold anything but NUL, so that ends a line.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let mut text = Vec::new();
        for (folder, changed) in &self.folders {
            text.extend_from_slice(format!("{changed} ").as_bytes());
            text.extend_from_slice(folder.as_os_str().as_bytes());
            text.push(0);
        }
        fs::write(file, text)
    }
}

/// Whether no folder written to `file` has changed. Permissions and contents of files do not count: a secret that is
/// renewed comes as a new file.
pub fn is_unchanged(file: &Path) -> bool {
    let Ok(text) = fs::read(file) else {
        return false;
    };
    text.split(|byte| *byte == 0).filter(|line| !line.is_empty()).all(|line| {
        let mut words = line.splitn(2, |byte| *byte == b' ');
        let time = words.next().and_then(|word| str::from_utf8(word).ok()?.parse().ok());
        let folder = words.next().map(|word| Path::new(OsStr::from_bytes(word)));
        folder.and_then(|folder| fs::metadata(folder).ok()).map(|now| changed(&now)) == time
    })
}

fn changed(metadata: &Metadata) -> i128 {
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_a_change() {
        let folder = std::env::temp_dir().join(format!("compose-seen-{}", std::process::id()));
        let (watched, file) = (folder.join("watched"), folder.join("seen"));
        // Begun before the folder was made, however long that takes.
        let early = Seen::new();
        fs::create_dir_all(&watched).unwrap();
        let look = |mut seen: Seen| {
            seen.add(watched.clone(), &fs::metadata(&watched).unwrap());
            seen.write(&file).unwrap();
        };
        look(early);
        assert!(!is_unchanged(&file), "it was made within this tick");
        std::thread::sleep(std::time::Duration::from_millis(60));
        look(Seen::new());
        assert!(is_unchanged(&file));
        fs::write(watched.join("new"), "").unwrap();
        assert!(!is_unchanged(&file));
        fs::remove_dir_all(folder).unwrap();
        assert!(!is_unchanged(&file));
    }
}
