//! System calls that no contained program needs and that have opened doors before.
//!
//! Everything else is allowed: namespaces and Landlock decide what a path or a number means, this
//! takes away what would reach around them, and what grows memory where nobody counts it.

use libc::{c_long, c_ulong};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::plan::SetupError;

/// Refused as "not permitted".
const REFUSED: &[c_long] = &[
    // other file systems, other roots
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_quotactl,
    libc::SYS_fanotify_init,
    // other namespaces
    libc::SYS_unshare,
    libc::SYS_setns,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // the network, and whatever else is a socket; pairs of streams and pipes are left, with the buffers
    // that they begin with
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_setsockopt,
    // a session of its own has its own share of the processor beside the node's
    libc::SYS_setsid,
    // the kernel itself
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // the machine's clock and name
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // memory that belongs to no process
    libc::SYS_memfd_create,
    libc::SYS_shmget,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
];

/// Refused as "unknown to this kernel", so that libraries take the older way.
const UNKNOWN: &[c_long] = &[
    // its flags lie in memory, where no filter sees them
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // the whole machine has so many of these
    libc::SYS_io_setup,
];

/// Refused as "not supported": room is taken by writing, so that it can be watched.
const UNSUPPORTED: &[c_long] = &[libc::SYS_fallocate];

/// A call that is refused when some bits of an argument have a value.
struct When {
    call: c_long,
    argument: u8,
    mask: c_ulong,
    value: c_ulong,
}

const fn has(call: c_long, argument: u8, flags: libc::c_int) -> When {
    let flags = flags.unsigned_abs() as c_ulong;
    When { call, argument, mask: flags, value: flags }
}

const fn pair_of(kind: libc::c_int) -> When {
    let value = kind.unsigned_abs() as c_ulong;
    When { call: libc::SYS_socketpair, argument: 1, mask: 0xf, value }
}

/// Refused as "not permitted" in some forms.
const REFUSED_WHEN: &[When] = &[
    has(libc::SYS_clone, 0, libc::CLONE_NEWUSER),
    has(libc::SYS_clone, 0, libc::CLONE_NEWNS),
    has(libc::SYS_clone, 0, libc::CLONE_NEWPID),
    has(libc::SYS_clone, 0, libc::CLONE_NEWNET),
    has(libc::SYS_clone, 0, libc::CLONE_NEWIPC),
    has(libc::SYS_clone, 0, libc::CLONE_NEWUTS),
    has(libc::SYS_clone, 0, libc::CLONE_NEWCGROUP),
    // memory that stays when no process has it mapped any more
    has(libc::SYS_mmap, 3, libc::MAP_SHARED | libc::MAP_ANONYMOUS),
    // sockets that send to any path by an address in memory, where no filter sees it
    pair_of(libc::SOCK_DGRAM),
    pair_of(libc::SOCK_RAW),
];

/// Every filter: what it refuses, in which forms, and with which error.
const FILTERS: &[(&[c_long], &[When], libc::c_int)] = &[
    (REFUSED, REFUSED_WHEN, libc::EPERM),
    (UNKNOWN, &[], libc::ENOSYS),
    (UNSUPPORTED, &[], libc::EOPNOTSUPP),
];

/// Puts this process, and all that it will start, under the filters; nothing takes them off again.
///
/// # Errors
///
/// [`SetupError::Layer`] when the kernel has no seccomp filters, or for another processor.
pub(crate) fn apply() -> Result<(), SetupError> {
    let layer = |reason: String| SetupError::layer("seccomp filter", reason);
    for (calls, when, errno) in FILTERS {
        let program = compile(calls, when, *errno).map_err(|it| layer(it.to_string()))?;
        apply_filter(&program).map_err(|it| layer(it.to_string()))?;
    }
    Ok(())
}

fn compile(
    calls: &[c_long],
    when: &[When],
    errno: libc::c_int,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: std::collections::BTreeMap<_, Vec<SeccompRule>> =
        calls.iter().map(|it| (*it, Vec::new())).collect();
    for When { call, argument, mask, value } in when {
        let asked = SeccompCmpOp::MaskedEq(*mask);
        let condition = SeccompCondition::new(*argument, SeccompCmpArgLen::Qword, asked, *value)?;
        rules.entry(*call).or_default().push(SeccompRule::new(vec![condition])?);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?;
    let mut program = second_numbers();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// Refuses the second set of numbers that some x86 kernels have for the same calls (x32).
fn second_numbers() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const FIRST: u32 = 0x4000_0000;
    let refusal = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: FIRST },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refusal },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_fit_into_what_a_kernel_takes() {
        for (calls, when, errno) in FILTERS {
            let program = compile(calls, when, *errno).unwrap();
            assert!(program.len() > calls.len() + when.len() && program.len() < 4096);
        }
    }
}
