//! The system calls of a container, by what they are for: those that Docker's default profile lets through (moby/profiles,
//! `seccomp/default_linux.go`). A name that an architecture does not have stands for nothing there.

/// Whatever a program is allowed to do.
pub const ALWAYS: &[&str] = &[
    // Files by path.
    "access chmod chown chown32 creat faccessat faccessat2 fchmodat fchmodat2 fchownat fstatat64 futimesat lchown
     lchown32 link linkat lstat lstat64 mkdir mkdirat mknod mknodat newfstatat open openat openat2 readlink readlinkat
     rename renameat renameat2 rmdir stat stat64 statfs statfs64 statx symlink symlinkat truncate truncate64 unlink
     unlinkat utime utimensat utimensat_time64 utimes name_to_handle_at statmount listmount",
    // Their extended attributes.
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
     lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat",
    // Open files.
    "close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fallocate fchmod fchown fchown32 fcntl
     fcntl64 fdatasync flock fstat fstat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 getdents getdents64 ioctl
     _llseek lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice
     sync sync_file_range syncfs tee vmsplice write writev pipe pipe2 cachestat arm_fadvise64_64 arm_sync_file_range
     sync_file_range2",
    // Where a process is, and its root.
    "chdir fchdir getcwd umask",
    // Waiting for files, and for much else by one.
    "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
     eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch poll ppoll
     ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64
     timerfd_settime timerfd_settime64",
    // Files asynchronously, io_uring aside: what goes through that no filter sees.
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get ioprio_set",
    // Memory.
    "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
     mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease
     remap_file_pages",
    // Processes and threads.
    "execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid
     getpriority getrlimit getrusage getsid gettid kill pidfd_open pidfd_send_signal prctl prlimit64 rseq
     set_robust_list set_thread_area set_tid_address setpgid setpriority setrlimit setsid tgkill times tkill ugetrlimit
     vfork wait4 waitid waitpid process_vm_readv process_vm_writev ptrace uretprobe arch_prctl modify_ldt set_tls
     cacheflush breakpoint riscv_flush_icache riscv_hwprobe",
    // How they are scheduled.
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
     sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
     sched_setscheduler sched_yield",
    // Whom they run as, and what they may do.
    "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
     getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
     setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
     landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    // Signals.
    "pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
     rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn",
    // Time.
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
     clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
     timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64",
    // One process and another.
    "futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake ipc mq_getsetattr mq_notify mq_open
     mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd
     semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget",
    // Sockets; `socket` itself is a rule.
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
     recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    // The system.
    "getrandom sysinfo uname",
];

/// What a capability brings besides (capabilities(7)).
pub const WITH: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// The flags of clone(2) that make a namespace.
pub const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The personalities that are allowed: Linux, Linux on 32 bits, each with and without the release of Linux 2.6, and
/// the question which one it is (personality(2)).
pub const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The address families that sockets may have: those that Linux has, without the kernel's ciphers (AF_ALG, 38), the way
/// to the hypervisor (AF_VSOCK, 40) and those that are gone (DECnet, Econet, ATM's SVC, IrDA, WANPIPE, ISDN, CAIF).
/// First and last of each run.
pub const FAMILIES: [(u64, u64); 8] =
    [(0, 11), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_is_named_twice() {
        let mut known = BTreeSet::new();
        for name in ALWAYS.iter().flat_map(|names| names.split_whitespace()) {
            assert!(known.insert(name), "{name}");
        }
    }
}
