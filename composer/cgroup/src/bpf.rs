//! The program by which v2 limits devices (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE): run for each device that is opened or
//! made, it answers whether it may be.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use crate::devices::{Allowed, DeviceKind};

/// `struct bpf_insn` of linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// The destination's register in the lower half, the source's in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The part of `union bpf_attr` that loads a program.
#[repr(C)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part that attaches one.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

// Of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const AT_CGROUP_DEVICE: u32 = 6;
/// Others above and below may limit devices too; all have to agree.
const ALLOW_MULTI: u32 = 2;

/// Attaches a program to the group in this directory; it is gone with the group.
pub(crate) fn attach(directory: &Path, allowed: &[Allowed]) -> io::Result<()> {
    let group = File::open(directory)?;
    let program = load(&program(allowed))?;
    let mut request = Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: AT_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `request` is as large as is said, and the kernel only reads it.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw mut request, size_of::<Attach>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut request = Load {
        program_type: TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        // It calls nothing that asks for another one.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads `count` instructions in the layout of its `struct bpf_insn` and a C string, both of which
    // outlive the call, and checks the program before it takes it.
    let program = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw mut request, size_of::<Load>()) };
    let number = i32::try_from(program).map_err(io::Error::other)?;
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has installed it (close-on-exec) for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Registers: the answer, the context, and what is loaded from it.
const R0: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const REST: u8 = 6;

/// Lets through what a rule names, and nothing else.
fn program(allowed: &[Allowed]) -> Vec<Instruction> {
    // `struct bpf_cgroup_dev_ctx`: access << 16 | kind, major, minor.
    let mut program = vec![
        word(KIND, 0),
        and(KIND, 0xffff),
        word(ACCESS, 0),
        shift_right(ACCESS, 16),
        word(MAJOR, 4),
        word(MINOR, 8),
    ];
    for rule in allowed {
        let mut tests = Vec::new();
        match rule.kind {
            Some(DeviceKind::Block) => tests.push((KIND, 1)),
            Some(DeviceKind::Character) => tests.push((KIND, 2)),
            None => {}
        }
        tests.extend(rule.major.map(|major| (MAJOR, major.cast_signed())));
        tests.extend(rule.minor.map(|minor| (MINOR, minor.cast_signed())));
        // What is asked for beyond what the rule has.
        let mut code = vec![copy(REST, ACCESS), and(REST, !rule.access.cast_signed())];
        tests.push((REST, 0));
        let length = code.len() + tests.len() + 2;
        for (register, value) in tests {
            let over = length - code.len() - 1;
            code.push(unless(register, value, over as i16));
        }
        code.extend([set(R0, 1), exit()]);
        program.extend(code);
    }
    program.extend([set(R0, 0), exit()]);
    program
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, immediate }
}

/// BPF_LDX | BPF_MEM | BPF_W.
const fn word(to: u8, offset: i16) -> Instruction {
    instruction(0x61, to, CONTEXT, offset, 0)
}

/// BPF_ALU | BPF_AND | BPF_K.
const fn and(to: u8, mask: i32) -> Instruction {
    instruction(0x54, to, 0, 0, mask)
}

/// BPF_ALU | BPF_RSH | BPF_K.
const fn shift_right(to: u8, by: i32) -> Instruction {
    instruction(0x74, to, 0, 0, by)
}

/// BPF_ALU | BPF_MOV | BPF_X.
const fn copy(to: u8, from: u8) -> Instruction {
    instruction(0xbc, to, from, 0, 0)
}

/// BPF_ALU64 | BPF_MOV | BPF_K.
const fn set(to: u8, value: i32) -> Instruction {
    instruction(0xb7, to, 0, 0, value)
}

/// BPF_JMP | BPF_JNE | BPF_K: over as many instructions where it is another value.
const fn unless(register: u8, value: i32, over: i16) -> Instruction {
    instruction(0x55, register, 0, over, value)
}

/// BPF_JMP | BPF_EXIT.
const fn exit() -> Instruction {
    instruction(0x95, 0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    fn allowed(major: u32, minor: u32, access: u32) -> Allowed {
        Allowed { kind: Some(DeviceKind::Character), major: Some(major), minor: Some(minor), access }
    }

    /// Where cgroup2 is mounted, which it is beside v1 too.
    fn unified() -> std::path::PathBuf {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = line.into_iter().find(|fields| fields[2] == "cgroup2");
        found.expect("cgroup2 is mounted")[1].into()
    }

    #[test]
    fn the_kernel_lets_through_what_is_named() {
        let group = unified().join(format!("compose-test-bpf-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        // /dev/null for both, /dev/zero to be read.
        attach(&group, &[allowed(1, 3, 6), allowed(1, 5, 2)]).unwrap();
        let script = "read x; for f in null zero full; do \
                      (: < /dev/$f) 2> /dev/null && echo read $f; (: > /dev/$f) 2> /dev/null && echo write $f; done; exit 0";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success());
        std::fs::remove_dir(&group).unwrap();
        assert_eq!(text, "read null\nwrite null\nread zero\n");
    }
}
