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
    // the network, and whatever else is a socket; pairs and pipes are left
    libc::SYS_socket,
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
];

/// What `clone` may not be asked for.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Puts this process, and all that it will start, under the filters; nothing takes them off again.
///
/// # Errors
///
/// [`SetupError::Layer`] when the kernel has no seccomp filters, or for another processor.
pub(crate) fn apply() -> Result<(), SetupError> {
    let layer = |reason: String| SetupError::layer("seccomp filter", reason);
    let refused = compile(REFUSED, NAMESPACES, libc::EPERM).map_err(|it| layer(it.to_string()))?;
    let unknown = compile(UNKNOWN, &[], libc::ENOSYS).map_err(|it| layer(it.to_string()))?;
    for program in [refused, unknown] {
        apply_filter(&program).map_err(|it| layer(it.to_string()))?;
    }
    Ok(())
}

fn compile(
    calls: &[c_long],
    clone_flags: &[libc::c_int],
    errno: libc::c_int,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: std::collections::BTreeMap<_, _> =
        calls.iter().map(|it| (*it, Vec::new())).collect();
    let mut flagged = Vec::new();
    for flag in clone_flags {
        let flag = c_ulong::from(flag.unsigned_abs());
        let asked = SeccompCmpOp::MaskedEq(flag);
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, asked, flag)?;
        flagged.push(SeccompRule::new(vec![condition])?);
    }
    if !flagged.is_empty() {
        rules.insert(libc::SYS_clone, flagged);
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
        let refused = compile(REFUSED, NAMESPACES, libc::EPERM).unwrap();
        let unknown = compile(UNKNOWN, &[], libc::ENOSYS).unwrap();
        assert!(refused.len() > REFUSED.len() && refused.len() < 4096);
        assert!(unknown.len() > UNKNOWN.len() && unknown.len() < 4096);
    }
}
