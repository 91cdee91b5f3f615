//! A loop device of a test's own. The kernel takes it apart when the last that holds it open lets go.
#![expect(unsafe_code, reason = "loop devices are made by ioctl(2)")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::Command;

pub struct Disk {
    pub path: PathBuf,
    pub number: (u32, u32),
    file: PathBuf,
    device: Option<File>,
}

/// linux/loop.h.
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

impl Disk {
    /// Of so many bytes, all of them zero.
    pub fn new(name: &str, bytes: u64) -> Self {
        let file = std::env::temp_dir().join(format!("compose-disk-{name}-{}", std::process::id()));
        let backing = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&file);
        let backing = backing.expect("make the disk's file");
        backing.set_len(bytes).expect("size the disk's file");
        if !std::fs::exists("/dev/loop-control").expect("look for loop devices") {
            Command::new("modprobe").arg("loop").status().expect("load the module loop");
        }
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control");
        let control = control.expect("/dev/loop-control: is the module loop there?");
        loop {
            // SAFETY: the descriptor is open for as long as `control` is, and the request takes no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            let number = u32::try_from(number).expect("a free loop device");
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).write(true).open(&path).expect("open a loop device");
            // struct loop_config: the descriptor, the size of a block, struct loop_info64 with its flags at 52, reserve.
            let mut config = [0_u8; 304];
            config[..4].copy_from_slice(&backing.as_raw_fd().to_ne_bytes());
            config[60..64].copy_from_slice(&LO_FLAGS_AUTOCLEAR.to_ne_bytes());
            // SAFETY: both descriptors are open, and the kernel reads sizeof(struct loop_config) = 304 bytes.
            let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) };
            if done == 0 {
                return Self { path, number: (7, number), file, device: Some(device) };
            }
            // Somebody else has taken it meanwhile.
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::EBUSY), "{}: {error}", path.display());
        }
    }

    /// Has a scheduler serve it.
    pub fn schedule(&self, scheduler: &str) {
        assert!(std::fs::metadata(&self.path).expect("the device").file_type().is_block_device());
        let file = format!("/sys/block/loop{}/queue/scheduler", self.number.1);
        std::fs::write(&file, scheduler).unwrap_or_else(|error| panic!("{file}: {scheduler}: {error}"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The scheduler stays with the device otherwise.
        let _ = std::fs::write(format!("/sys/block/loop{}/queue/scheduler", self.number.1), "none");
        self.device.take();
        let _ = std::fs::remove_file(&self.file);
    }
}
