//! The system calls a container without added capabilities does not get (seccomp(2)): what Docker's default profile
//! refuses.
//!
//! Docker lists what is allowed. This lists what is refused, and allows the rest up to the newest call that Docker
//! knows, because every start pays for the filter's length. Later calls do not exist (ENOSYS), as with runc. So it
//! is with the calls of x32, which are numbers above those. A call of a foreign architecture, such as i386's by
//! `int 0x80`, kills the process: numbers mean other calls there. (Docker allows i386.)
//!
//! `seccompiler` writes what looks at arguments and the check of the architecture. It writes five instructions for
//! a call that is refused whatever its arguments are, and knows one action for a filter; so those calls are a search
//! by number, put in before its own comparisons and with two returns. `seccompiler::apply_filter` would set
//! `no_new_privs`, under which setuid programs are ordinary ones; so the filter is installed here, by a process that
//! still has CAP_SYS_ADMIN.
#![allow(unsafe_code)]

use std::io;
use std::sync::LazyLock;

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use crate::failure::{Doing, Result, StartFailure};

/// What is refused with EPERM on every architecture.
const REFUSED: &[c_long] = &[
    // Mounts.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // Namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Keys: the kernel's keyrings know no namespaces.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Large ways into the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other processes.
    libc::SYS_pidfd_getfd,
    // The kernel and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    // Where memory lies.
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    450, // set_mempolicy_home_node
];

/// What is refused on x86-64 besides: its ports, and calls that are old or have never been.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    174, // create_module
    177, // get_kernel_syms
    178, // query_module
    libc::SYS_getpmsg,
    libc::SYS_putpmsg,
    libc::SYS_afs_syscall,
    libc::SYS_tuxcall,
    libc::SYS_security,
    libc::SYS_vserver,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// removexattrat(2), the newest call that Docker's profile knows. Calls as new have one number on all architectures.
const NEWEST: u32 = 466;

/// The flags of clone(2) that make a namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The personalities that are allowed: Linux, Linux on 32 bits, each with and without the release of Linux 2.6, and
/// the question which one it is.
const PERSONALITIES: [u32; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The address families that are refused: the kernel's ciphers, and the way to the hypervisor.
const FAMILIES: [libc::c_int; 2] = [libc::AF_ALG, libc::AF_VSOCK];

/// Loads the number of the call: the first field of `struct seccomp_data`.
const LOAD_NUMBER: sock_filter = instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0);

static FILTER: LazyLock<Result<BpfProgram>> = LazyLock::new(prepare);

/// Writes the filter, so that children of this process find it written.
pub fn warm_up() {
    LazyLock::force(&FILTER);
}

/// Puts this thread, and every program it will run, under the filter. Needs CAP_SYS_ADMIN.
pub fn install() -> Result<()> {
    let filter = FILTER.as_ref().map_err(Clone::clone)?;
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(failed)?,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads `len` instructions, which `filter` holds in the layout of its `struct sock_filter`,
    // and keeps a copy; nothing is written. The flag leaves the processor's speculation as it is, as runc does;
    // before Linux 5.16 a filter would slow it down.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).doing("limit", "its system calls") }
}

fn prepare() -> Result<BpfProgram> {
    let mut program = by_arguments().map_err(failed)?;
    let load = program.iter().position(|instruction| *instruction == LOAD_NUMBER);
    let after = load.ok_or_else(|| failed("the filter does not look at the call"))? + 1;
    program.splice(after..after, by_number()?);
    Ok(program)
}

fn failed(error: impl ToString) -> StartFailure {
    StartFailure::because("limit", "its system calls", error.to_string())
}

/// The whole filter, but for what is refused by its number alone.
fn by_arguments() -> std::result::Result<BpfProgram, BackendError> {
    let first =
        |operator, value: u32| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value.into());
    let rule = |operator, value| SeccompRule::new(vec![first(operator, value)?]);
    // A call is refused where one of its rules has all its conditions met.
    let namespaces = NAMESPACES.map(|flag| u64::from(flag.cast_unsigned()));
    let clone = namespaces.map(|flag| rule(SeccompCmpOp::MaskedEq(flag), flag as u32));
    let socket = FAMILIES.map(|family| rule(SeccompCmpOp::Eq, family.cast_unsigned()));
    let personality = PERSONALITIES.map(|allowed| first(SeccompCmpOp::Ne, allowed));
    let personality = SeccompRule::new(personality.into_iter().collect::<std::result::Result<_, _>>()?)?;
    let rules = [
        (libc::SYS_clone, clone.into_iter().collect::<std::result::Result<_, _>>()?),
        (libc::SYS_socket, socket.into_iter().collect::<std::result::Result<_, _>>()?),
        (libc::SYS_personality, vec![personality]),
    ];
    SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

/// What is refused by its number alone, to be run with the number loaded. Goes on behind its end.
fn by_number() -> Result<Vec<sock_filter>> {
    // From the end to the start, as jumps only lead forward.
    let errno =
        |errno: i32| instruction(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(), 0, 0);
    let mut list = vec![errno(libc::ENOSYS), errno(libc::EPERM)];
    let (enosys, eperm) = (0, 1);
    search(&mut list, eperm, &runs()?)?;
    // Its flags lie in memory, where no filter sees them; libc then calls clone(2).
    let clone3 = u32::try_from(libc::SYS_clone3).map_err(failed)?;
    let to = distance(&list, enosys)?;
    list.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, clone3, to, 0));
    let to = distance(&list, enosys)?;
    list.push(instruction(BPF_JMP | BPF_JGT | BPF_K, NEWEST, to, 0));
    list.reverse();
    Ok(list)
}

/// How far the next instruction of a list from the end to the start jumps to reach the one at an index.
fn distance(list: &[sock_filter], to: usize) -> Result<u8> {
    u8::try_from(list.len() - to - 1).map_err(failed)
}

/// Goes to `refuse` where the number is in a run, else behind the end of the list. It halves the runs: when a filter
/// is installed the kernel tries it with every number there is, which takes longer than all else.
fn search(list: &mut Vec<sock_filter>, refuse: usize, runs: &[(u32, u32)]) -> Result<()> {
    let (lower, upper) = runs.split_at(runs.len() / 2);
    if let Some(&(middle, _)) = upper.first()
        && runs.len() > 4
    {
        search(list, refuse, upper)?;
        let after = list.len();
        search(list, refuse, lower)?;
        let over = u8::try_from(list.len() - after).map_err(failed)?;
        list.push(instruction(BPF_JMP | BPF_JGE | BPF_K, middle, over, 0));
        return Ok(());
    }
    let end = u32::try_from(list.len()).map_err(failed)?;
    list.push(instruction(BPF_JMP | BPF_JA, end, 0, 0));
    for &(low, high) in runs {
        let to = distance(list, refuse)?;
        if low == high {
            list.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, low, to, 0));
        } else {
            list.push(instruction(BPF_JMP | BPF_JGT | BPF_K, high, 0, to));
            list.push(instruction(BPF_JMP | BPF_JGE | BPF_K, low, 0, 1));
        }
    }
    Ok(())
}

/// The refused numbers as runs without gaps, first and last.
fn runs() -> Result<Vec<(u32, u32)>> {
    let numbers = REFUSED.iter().chain(REFUSED_HERE).map(|&number| u32::try_from(number));
    let mut numbers: Vec<u32> = numbers.collect::<std::result::Result<_, _>>().map_err(failed)?;
    numbers.sort_unstable();
    numbers.dedup();
    let runs = numbers.chunk_by(|low, high| low + 1 == *high);
    Ok(runs.filter_map(|run| Some((*run.first()?, *run.last()?))).collect())
}

const fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// The answer to a call of this architecture with this first argument.
    fn verdict(number: c_long, argument: u64) -> u32 {
        let program = prepare().unwrap();
        let arch = program[1].k;
        evaluate(&program, number as u32, arch, argument)
    }

    /// What the kernel's interpreter would answer.
    fn evaluate(program: &[sock_filter], number: u32, arch: u32, argument: u64) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            at += 1;
            let taken = match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    value = match k {
                        0 => number,
                        4 => arch,
                        16 => argument as u32,
                        20 => (argument >> 32) as u32,
                        _ => 0,
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
    fn under_filter<T: Send + 'static>(calls: impl FnOnce() -> T + Send + 'static) -> T {
        thread::spawn(|| {
            install().unwrap();
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
        let by_arguments = [libc::SYS_clone, libc::SYS_socket, libc::SYS_personality];
        for number in (0..=i64::from(NEWEST)).filter(|number| !by_arguments.contains(number)) {
            let expected = match number {
                libc::SYS_clone3 => ENOSYS,
                number if REFUSED.contains(&number) || REFUSED_HERE.contains(&number) => EPERM,
                _ => ALLOW,
            };
            assert_eq!(verdict(number, u64::MAX), expected, "call {number}");
        }
        for number in
            [libc::SYS_getpid, libc::SYS_execve, libc::SYS_ptrace, libc::SYS_chroot, libc::SYS_mknodat]
        {
            assert_eq!(verdict(number, 0), ALLOW, "call {number}");
        }
        for number in (467..1000).chain([-1]) {
            assert_eq!(verdict(number, 0), ENOSYS, "call {number}");
        }
    }

    #[test]
    fn x32_and_foreign_calls_do_not_pass() {
        for number in 0..1000 {
            assert_eq!(verdict(0x4000_0000 | number, 0), ENOSYS, "x32 call {number}");
        }
        let i386 = 0x4000_0003;
        let program = prepare().unwrap();
        for number in 0..1000 {
            assert_eq!(evaluate(&program, number, i386, 0), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }

    #[test]
    fn arguments_count() {
        let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_SETTLS;
        for flags in [0, libc::SIGCHLD, thread, libc::CLONE_VFORK | libc::CLONE_PIDFD] {
            assert_eq!(verdict(libc::SYS_clone, flags as u64), ALLOW);
            assert_eq!(verdict(libc::SYS_clone, flags as u64 | 0x7e02_0000), EPERM);
            for namespace in NAMESPACES {
                assert_eq!(verdict(libc::SYS_clone, (flags | namespace) as u64), EPERM);
                // The kernel reads the lower half only.
                assert_eq!(verdict(libc::SYS_clone, 1 << 40 | (flags | namespace) as u64), EPERM);
            }
        }
        for family in 0..64 {
            let expected = if family == 38 || family == 40 { EPERM } else { ALLOW };
            assert_eq!(verdict(libc::SYS_socket, family), expected, "family {family}");
            assert_eq!(verdict(libc::SYS_socket, 1 << 32 | family), expected, "family {family}");
        }
        for allowed in PERSONALITIES {
            assert_eq!(verdict(libc::SYS_personality, allowed.into()), ALLOW);
        }
        for refused in [0x1, 0x4_0000, 0x4_0008, 0x40_0000, 0xffff_fffe] {
            assert_eq!(verdict(libc::SYS_personality, refused), EPERM);
        }
    }

    #[test]
    fn the_kernel_refuses() {
        under_filter(|| {
            let none = [0; 5];
            assert_eq!(errno(libc::SYS_unshare, [libc::CLONE_NEWUTS.into(), 0, 0, 0, 0]), libc::EPERM);
            assert_eq!(errno(libc::SYS_unshare, none), libc::EPERM);
            assert_eq!(errno(libc::SYS_clone3, none), libc::ENOSYS);
            let clone = (libc::CLONE_NEWUTS | libc::SIGCHLD).into();
            assert_eq!(errno(libc::SYS_clone, [clone, 0, 0, 0, 0]), libc::EPERM);
            assert_eq!(errno(libc::SYS_keyctl, none), libc::EPERM);
            assert_eq!(errno(libc::SYS_bpf, none), libc::EPERM);
            assert_eq!(errno(libc::SYS_mount, none), libc::EPERM);
            assert_eq!(errno(libc::SYS_open_tree, [-1, 0, 0, 0, 0]), libc::EPERM);
            assert_eq!(errno(libc::SYS_io_uring_setup, none), libc::EPERM);
            let stream = libc::SOCK_SEQPACKET.into();
            assert_eq!(errno(libc::SYS_socket, [libc::AF_ALG.into(), stream, 0, 0, 0]), libc::EPERM);
            assert_eq!(errno(libc::SYS_socket, [libc::AF_VSOCK.into(), stream, 0, 0, 0]), libc::EPERM);
            assert_eq!(errno(libc::SYS_personality, [0x4_0000, 0, 0, 0, 0]), libc::EPERM);
            assert_eq!(errno(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]), 0);
            assert_eq!(errno(libc::SYS_getpid, none), 0);
            assert_eq!(errno(libc::SYS_getpid | 0x4000_0000, none), libc::ENOSYS);
        });
    }

    #[test]
    fn programs_still_run_and_may_gain_privileges() {
        under_filter(|| {
            thread::spawn(|| ()).join().unwrap();
            let output = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
            let status = String::from_utf8(output.stdout).unwrap();
            assert!(status.contains("NoNewPrivs:\t0"), "{status}");
            assert!(status.contains("Seccomp:\t2"), "{status}");
        });
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_kernel_kills_for_a_call_of_i386() {
        warm_up();
        // SAFETY: the child only makes system calls.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                if install().is_ok() {
                    // SAFETY: i386's getpid, which touches no memory.
                    unsafe { std::arch::asm!("int 0x80", inout("eax") 20 => _) };
                }
                crate::process::leave(0)
            }
            // SIGSEGV where the kernel knows no such calls.
            ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
                WaitStatus::Signaled(_, Signal::SIGSYS | Signal::SIGSEGV, _) => {}
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn short_enough() {
        let instructions = prepare().unwrap().len();
        assert!(instructions <= 150, "{instructions} instructions");
    }
}
