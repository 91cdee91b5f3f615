use std::collections::BTreeSet;
use std::io;
use std::thread;

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::policy::{ABIS, ALLOW, ENOSYS, EPERM};
use super::*;

fn capabilities(more: &[&str]) -> BTreeSet<String> {
    let mut names = capabilities::Wanted::of(&Confinement::default()).names();
    names.extend(more.iter().map(|name| (*name).to_owned()));
    names
}

fn default_with(more: &[&str]) -> Vec<Instruction> {
    compile::compile(&Policy::default(&capabilities(more)))
}

fn number(abi: usize, name: &str) -> u32 {
    (ABIS[abi].number)(name).unwrap_or_else(|| panic!("{name} is no call"))
}

/// The answer to a call of this machine's own instruction set.
fn verdict(program: &[Instruction], name: &str, arguments: &[u64]) -> u32 {
    evaluate(program, number(0, name), ABIS[0].audit, arguments)
}

/// What the kernel's interpreter would answer.
fn evaluate(program: &[Instruction], number: u32, arch: u32, arguments: &[u64]) -> u32 {
    let argument = |place: u32| arguments.get(place as usize).copied().unwrap_or(0);
    let (mut at, mut value) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let taken = match u32::from(code) {
            code if code == BPF_LD | BPF_W | BPF_ABS => {
                value = match k {
                    0 => number,
                    4 => arch,
                    k if k % 8 == 0 => argument((k - 16) / 8) as u32,
                    k => (argument((k - 16) / 8) >> 32) as u32,
                };
                continue;
            }
            code if code == libc::BPF_ALU | libc::BPF_AND | BPF_K => {
                value &= k;
                continue;
            }
            code if code == BPF_JMP | BPF_JA => {
                at += k as usize;
                continue;
            }
            code if code == BPF_RET | BPF_K => return k,
            code if code == BPF_JMP | BPF_JEQ | BPF_K => value == k,
            code if code == BPF_JMP | BPF_JGT | BPF_K => value > k,
            code if code == BPF_JMP | BPF_JGE | BPF_K => value >= k,
            code => panic!("instruction {code:#x}"),
        };
        at += usize::from(if taken { jt } else { jf });
    }
}

/// Calls from a thread under the filter: filters are per thread.
fn under<T: Send + 'static>(confinement: Confinement, calls: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(move || {
        install(&confinement, &capabilities::Wanted::of(&confinement).names()).unwrap();
        calls()
    })
    .join()
    .unwrap()
}

/// The errno(3) of a call, 0 where it succeeds.
fn errno(number: c_long, arguments: [c_long; 5]) -> i32 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the tests pass no pointers but null, and no call that changes this process.
    match unsafe { libc::syscall(number, a, b, c, d, e) } {
        -1 => io::Error::last_os_error().raw_os_error().unwrap(),
        _ => 0,
    }
}

#[test]
fn every_number_has_its_answer() {
    let program = default_with(&[]);
    for abi in &ABIS {
        let of = |names: &[&str]| -> BTreeSet<u32> {
            names.iter().flat_map(|names| names.split_whitespace()).filter_map(abi.number).collect()
        };
        let by_arguments = of(&["clone socket personality"]);
        let (always, chroot, clone3) = (of(calls::ALWAYS), of(&["chroot"]), of(&["clone3"]));
        let newest = 466;
        assert_eq!((abi.number)("removexattrat"), Some(newest));
        for number in (0..=newest).filter(|number| !by_arguments.contains(number)) {
            let expected = match number {
                number if clone3.contains(&number) => ENOSYS,
                number if always.contains(&number) || chroot.contains(&number) => ALLOW,
                _ => EPERM,
            };
            let found = evaluate(&program, number, abi.audit, &[u64::MAX; 6]);
            assert_eq!(found, expected, "call {number} of {}", abi.name);
        }
        for number in (newest + 1..1000).chain([u32::MAX]) {
            assert_eq!(evaluate(&program, number, abi.audit, &[]), ENOSYS, "call {number}");
        }
    }
    for name in ["getpid", "execve", "ptrace", "chroot", "mknodat", "openat2"] {
        assert_eq!(verdict(&program, name, &[]), ALLOW, "{name}");
    }
    for name in [
        "mount",
        "bpf",
        "keyctl",
        "io_uring_setup",
        "unshare",
        "kexec_load",
        "userfaultfd",
        "process_madvise",
    ] {
        assert_eq!(verdict(&program, name, &[]), EPERM, "{name}");
    }
}

#[test]
fn capabilities_bring_calls() {
    let without = default_with(&[]);
    for (capability, names) in calls::WITH {
        let with = default_with(&[capability]);
        for name in names.split_whitespace().filter(|name| (ABIS[0].number)(name).is_some()) {
            let flags = [u64::from(calls::NAMESPACES)];
            assert_eq!(verdict(&with, name, &flags), ALLOW, "{name} with {capability}");
            if name != "chroot" {
                assert_ne!(verdict(&without, name, &flags), ALLOW, "{name}");
            }
        }
    }
    let dropped = compile::compile(&Policy::default(&BTreeSet::new()));
    assert_eq!(verdict(&dropped, "chroot", &[]), EPERM);
    // Keyrings know no namespaces: no capability brings them.
    let all = caps::all().iter().map(ToString::to_string).collect();
    for name in ["keyctl", "add_key", "request_key", "userfaultfd", "io_uring_setup", "kexec_load"] {
        assert_eq!(verdict(&compile::compile(&Policy::default(&all)), name, &[]), EPERM, "{name}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn x32_does_not_pass_nor_what_is_no_instruction_set_of_this_machine() {
    let program = default_with(&[]);
    for number in 0..1000 {
        assert_eq!(evaluate(&program, 0x4000_0000 | number, ABIS[0].audit, &[]), ENOSYS, "x32 call {number}");
        assert_eq!(evaluate(&program, number, 0xc000_00b7, &[]), libc::SECCOMP_RET_KILL_PROCESS);
    }
    // i386 has numbers of its own.
    assert_eq!(number(1, "getpid"), 20);
    assert_eq!(evaluate(&program, 20, ABIS[1].audit, &[]), ALLOW);
    assert_eq!(evaluate(&program, number(1, "mount"), ABIS[1].audit, &[]), EPERM);
}

#[test]
fn arguments_count() {
    let program = default_with(&[]);
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_SETTLS;
    for flags in [0, libc::SIGCHLD, thread, libc::CLONE_VFORK | libc::CLONE_PIDFD] {
        assert_eq!(verdict(&program, "clone", &[flags as u64]), ALLOW);
        for bit in (0..32).map(|bit| 1_u32 << bit).filter(|bit| calls::NAMESPACES & bit != 0) {
            assert_eq!(verdict(&program, "clone", &[flags as u64 | u64::from(bit)]), EPERM);
            // The kernel reads the lower half only.
            assert_eq!(verdict(&program, "clone", &[1 << 40 | flags as u64 | u64::from(bit)]), EPERM);
        }
    }
    let gone = [12, 19, 20, 23, 25, 34, 37];
    for family in 0..64 {
        let is_refused = [38, 40].contains(&family) || gone.contains(&family) || family > 45;
        let expected = if is_refused { EPERM } else { ALLOW };
        assert_eq!(verdict(&program, "socket", &[family]), expected, "family {family}");
        assert_eq!(verdict(&program, "socket", &[1 << 32 | family]), EPERM, "family {family}");
    }
    for allowed in calls::PERSONALITIES {
        assert_eq!(verdict(&program, "personality", &[allowed]), ALLOW);
    }
    for refused in [0x1, 0x4_0000, 0x4_0008, 0x40_0000, 0xffff_fffe, 1 << 32] {
        assert_eq!(verdict(&program, "personality", &[refused]), EPERM);
    }
}

#[test]
fn the_kernel_refuses() {
    under(Confinement::default(), || {
        let none = [0; 5];
        assert_eq!(errno(libc::SYS_unshare, [libc::CLONE_NEWUTS.into(), 0, 0, 0, 0]), libc::EPERM);
        assert_eq!(errno(libc::SYS_clone3, none), libc::ENOSYS);
        let clone = (libc::CLONE_NEWUTS | libc::SIGCHLD).into();
        assert_eq!(errno(libc::SYS_clone, [clone, 0, 0, 0, 0]), libc::EPERM);
        for call in [
            libc::SYS_unshare,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_fsopen,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_acct,
            libc::SYS_swapon,
            libc::SYS_settimeofday,
            libc::SYS_open_by_handle_at,
            libc::SYS_setns,
            libc::SYS_add_key,
            libc::SYS_process_madvise,
            libc::SYS_kcmp,
            libc::SYS_get_mempolicy,
            libc::SYS_move_pages,
            libc::SYS_quotactl,
            libc::SYS_syslog,
            libc::SYS_reboot,
        ] {
            assert_eq!(errno(call, none), libc::EPERM, "call {call}");
        }
        assert_eq!(errno(libc::SYS_open_tree, [-1, 0, 0, 0, 0]), libc::EPERM);
        let stream = libc::SOCK_SEQPACKET.into();
        assert_eq!(errno(libc::SYS_socket, [libc::AF_ALG.into(), stream, 0, 0, 0]), libc::EPERM);
        assert_eq!(errno(libc::SYS_socket, [libc::AF_VSOCK.into(), stream, 0, 0, 0]), libc::EPERM);
        assert_eq!(errno(libc::SYS_personality, [0x4_0000, 0, 0, 0, 0]), libc::EPERM);
        assert_eq!(errno(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]), 0);
        assert_eq!(errno(libc::SYS_getpid, none), 0);
        assert_eq!(errno(600, none), libc::ENOSYS);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(errno(libc::SYS_getpid | 0x4000_0000, none), libc::ENOSYS);
    });
}

#[test]
fn files_stay_in_their_project_where_it_is_fixed() {
    let confinement = Confinement { fixed_project: true, ..Confinement::default() };
    under(confinement, || {
        let call = |number: u64| errno(libc::SYS_ioctl, [-1, number as c_long, 0, 0, 0]);
        // The kernel looks at 32 bits of the number.
        let number = u64::from(crate::project::SET);
        assert_eq!([call(number), call(number | 0xffff_ffff << 32)], [libc::EPERM; 2]);
        assert_eq!([call(libc::FIONREAD), call(u64::MAX)], [libc::EBADF; 2]);
    });
    under(Confinement::default(), || {
        let number = c_long::from(crate::project::SET);
        assert_eq!(errno(libc::SYS_ioctl, [-1, number, 0, 0, 0]), libc::EBADF);
    });
}

#[test]
fn programs_still_run_and_may_gain_privileges() {
    under(Confinement::default(), || {
        thread::spawn(|| ()).join().unwrap();
        let output = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        assert!(status.contains("NoNewPrivs:\t0"), "{status}");
        assert!(status.contains("Seccomp:\t2"), "{status}");
    });
}

#[test]
fn a_profile_of_the_users() {
    let text = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["uname", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7},
            {"name": "getppid", "action": "SCMP_ACT_ERRNO"},
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["sync"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "4.8"}}
        ]
    }"#;
    let confinement =
        Confinement { seccomp: SeccompProfile::Custom(text.to_owned()), ..Confinement::default() };
    under(confinement, || {
        let none = [0; 5];
        assert_eq!(errno(libc::SYS_uname, none), 7);
        assert_eq!(errno(libc::SYS_getppid, none), libc::EPERM);
        assert_eq!(errno(libc::SYS_personality, [8, 0, 0, 0, 0]), libc::EPERM);
        assert_eq!(errno(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]), 0);
        assert_eq!(errno(libc::SYS_sync, none), 0);
        assert_eq!(errno(libc::SYS_getsid, none), 0);
        // The default profile is not there besides.
        assert_eq!(errno(libc::SYS_mount, none), libc::EFAULT);
    });
    let read = |text: &str| profile::read(text, &BTreeSet::new()).unwrap_err();
    assert!(read("{").contains("EOF"));
    assert!(read(r#"{"defaultAction": "ALLOW"}"#).contains("`ALLOW` is not an action"));
    let notify = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    assert!(read(notify).contains("agent"));
}

#[test]
fn every_comparison() {
    let cases: [(&str, u64, [bool; 6]); 6] = [
        ("EQ", 0, [false, false, true, false, false, false]),
        ("NE", 0, [true, true, false, true, true, true]),
        ("LT", 0, [true, true, false, false, false, false]),
        ("LE", 0, [true, true, true, false, false, false]),
        ("GT", 0, [false, false, false, true, true, true]),
        ("GE", 0, [false, false, true, true, true, true]),
    ];
    let value = 5 << 32 | 7;
    let tried = [4 << 32 | 9, value - 1, value, value + 1, 6 << 32, u64::MAX];
    for (operator, two, expected) in cases {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["sync"], "action": "SCMP_ACT_ALLOW",
                "args": [{{"index": 3, "value": {value}, "valueTwo": {two}, "op": "SCMP_CMP_{operator}"}}]}}]}}"#
        );
        let program = compile::compile(&profile::read(&text, &BTreeSet::new()).unwrap());
        for (argument, holds) in tried.into_iter().zip(expected) {
            let expected = if holds { ALLOW } else { EPERM };
            assert_eq!(verdict(&program, "sync", &[0, 0, 0, argument]), expected, "{argument:#x} {operator}");
        }
    }
}

/// Docker's own profile, as a file, is what is built in.
#[test]
fn the_same_profile_as_a_file_is_the_same() {
    let names = calls::ALWAYS.join(" ");
    let names: Vec<String> = names.split_whitespace().map(|name| format!("{name:?}")).collect();
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "archMap": [{{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}},
                        {{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}}],
            "syscalls": [{{"names": [{}], "action": "SCMP_ACT_ALLOW"}}]}}"#,
        names.join(",")
    );
    let mut expected = Policy::default(&BTreeSet::new());
    for name in ["clone", "clone3", "socket", "personality"] {
        expected.rules.remove(name);
    }
    assert_eq!(profile::read(&text, &BTreeSet::new()).unwrap(), expected);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernel_counts_calls_of_i386_too() {
    let program = |call: i32| {
        // SAFETY: the child only makes system calls.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let mut answer = call;
                let names = BTreeSet::new();
                if install(&Confinement::default(), &names).is_ok() {
                    // SAFETY: i386's calls without arguments, which touch no memory.
                    unsafe { std::arch::asm!("int 0x80", inout("eax") answer) };
                }
                crate::process::leave(i32::from(answer > 0))
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        }
    };
    warm_up();
    match program(20) {
        // Where the kernel knows no such calls.
        WaitStatus::Signaled(_, Signal::SIGSEGV, _) => {}
        other => {
            assert!(matches!(other, WaitStatus::Exited(_, 1)), "getpid: {other:?}");
            // mount
            assert!(matches!(program(21), WaitStatus::Exited(_, 0)));
        }
    }
}

#[test]
fn short_enough() {
    let instructions = default_with(&[]).len();
    assert!(instructions <= 500, "{instructions} instructions");
}
