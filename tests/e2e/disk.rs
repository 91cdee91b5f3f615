//! Disks of the tests' own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A loop device, until it is dropped.
pub struct Disk {
    pub path: String,
    file: PathBuf,
}

impl Disk {
    /// Of so many bytes, all of them zero.
    pub fn new(name: &str, size: u64) -> Self {
        let file = std::env::temp_dir().join(format!("e2e-disk-{name}-{}", std::process::id()));
        fs::File::create(&file).unwrap().set_len(size).unwrap();
        if !fs::exists("/dev/loop-control").unwrap() {
            Command::new("modprobe").arg("loop").status().unwrap();
        }
        loop {
            let free = Command::new("losetup").arg("-f").output().unwrap();
            assert!(free.status.success(), "{free:?}");
            let path = String::from_utf8(free.stdout).unwrap().trim().to_owned();
            let made = Command::new("losetup").arg(&path).arg(&file).output().unwrap();
            if made.status.success() {
                return Self { path, file };
            }
            // Somebody else has taken it meanwhile.
            let error = String::from_utf8_lossy(&made.stderr).to_lowercase();
            assert!(error.contains("busy"), "losetup {path}: {error}");
        }
    }

    /// Its line in a control file, without its number.
    pub fn line(&self, text: &str) -> Option<String> {
        let number = format!("7:{} ", self.path.trim_start_matches("/dev/loop"));
        text.lines().find_map(|line| line.strip_prefix(&number)).map(str::to_owned)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.path]).status();
        let _ = fs::remove_file(&self.file);
    }
}
