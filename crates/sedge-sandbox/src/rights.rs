//! Giving up rights: namespaces outside, the user and Landlock inside, limits per step.

use std::fs;
use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getegid, geteuid, nice, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::time::Timespec;
use rustix_namespaces::thread::{UnshareFlags, unshare};

use crate::plan::{Limits, SetupError, Step, WORK};

/// The user that programs see themselves as, and are when the node is root's: owns nothing.
pub(crate) const NOBODY: u32 = 65_534;
/// Open files of one process.
const OPEN_FILES: u64 = 256;
/// What a process may reserve beyond what it may fill: stacks of threads, heaps of runtimes.
const RESERVE: u64 = 512 << 20;

/// How far programs stand back when others want the processor: as far as they can, from wherever the node stands.
const STANDS_BACK: i32 = 39;

/// Every namespace but the user's, and but that of mounts: the keeper keeps the machine's tree, in
/// which it finds the processes that it watches.
const NAMESPACES: UnshareFlags = UnshareFlags::NEWPID
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWCGROUP);

/// Lets the next child of this process begin in namespaces of its own.
///
/// Root keeps its user until the room is built; everybody else needs a user namespace for building.
///
/// # Errors
///
/// [`SetupError::Layer`], with what an owner can do about it.
pub(crate) fn separate() -> Result<(), SetupError> {
    if geteuid().is_root() && unshare(NAMESPACES).is_ok() {
        return Ok(());
    }
    let own = own_ids();
    unshare(NAMESPACES | UnshareFlags::NEWUSER).map_err(|errno| {
        let help = "let ordinary users make user namespaces (sysctl user.max_user_namespaces, \
                    kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)";
        SetupError::layer("user namespaces", format!("{errno}; {help}"))
    })?;
    // As root of it, init keeps the right to build across its start.
    map_user(0, own)
}

/// Gives this process mounts of its own.
///
/// # Errors
///
/// [`SetupError::Layer`] when the kernel refuses.
pub(crate) fn own_mounts() -> Result<(), SetupError> {
    unshare(UnshareFlags::NEWNS).map_err(|it| SetupError::layer("mount namespace", it))
}

/// Lets the user of this process be `inside` in its new user namespace, and nobody else be there.
fn map_user(inside: u32, (user, group): (u32, u32)) -> Result<(), SetupError> {
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{inside} {user} 1")),
        ("/proc/self/gid_map", format!("{inside} {group} 1")),
    ] {
        fs::write(file, text)
            .map_err(|err| SetupError::layer("user namespaces", format!("{file}: {err}")))?;
    }
    Ok(())
}

/// Ends this process when its parent ends.
///
/// # Errors
///
/// [`SetupError::Layer`] when it has ended already.
pub(crate) fn end_with_parent(parent: BorrowedFd<'_>) -> Result<(), SetupError> {
    let layer = |reason: String| SetupError::layer("end with its parent", reason);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|it| layer(it.to_string()))?;
    let mut ends = [PollFd::from_borrowed_fd(parent, PollFlags::empty())];
    poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
        .map_err(|it| layer(it.to_string()))?;
    if ends[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return Err(layer("the keeper is gone".to_owned()));
    }
    Ok(())
}

fn own_ids() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

/// Gives up every way to get rights again. The user is not root of the machine any more.
///
/// # Errors
///
/// [`SetupError::Layer`] for what is not to be had.
pub(crate) fn give_up() -> Result<(), SetupError> {
    let layer = |reason: String| SetupError::layer("an unprivileged user", reason);
    if is_machine_root()? {
        return Err(layer("this is the machine's root still".to_owned()));
    }
    // A user namespace inside: the room belongs to the one outside, where this process has no
    // rights any more, and the limit of processes counts this sandbox alone.
    let own = own_ids();
    unshare(UnshareFlags::NEWUSER).map_err(|it| layer(it.to_string()))?;
    map_user(NOBODY, own)?;
    // Whoever starts as nobody's user has no capabilities, and `no_new_privs`, which comes with the
    // fence, keeps it so.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|it| layer(it.to_string()))
}

/// Returns whether this process is root, and not only root of its user namespace.
///
/// # Errors
///
/// [`SetupError::Path`] without a `/proc`.
pub(crate) fn is_machine_root() -> Result<bool, SetupError> {
    let map =
        fs::read_to_string("/proc/self/uid_map").map_err(|it| SetupError::path("/proc", it))?;
    let alone = map.split_whitespace().nth(2) == Some("1");
    Ok(geteuid().is_root() && !alone)
}

/// Says to the kernel once more, beside the mounts, what may be read, written and run.
///
/// # Errors
///
/// [`SetupError::Layer`] when the kernel has no Landlock of at least its second version (Linux 5.19).
pub(crate) fn fence() -> Result<(), SetupError> {
    let layer = |reason: String| {
        SetupError::layer("Landlock", format!("{reason}; Linux 5.19 with `lsm=landlock` has it"))
    };
    let restricted = (|| {
        let all = AccessFs::from_all(ABI::V5);
        let read = AccessFs::from_read(ABI::V5);
        let within = |path: &str, access| {
            PathFd::new(path).map(|it| PathBeneath::new(it, access)).map_err(|it| it.to_string())
        };
        let rules = [
            within("/", read)?,
            within("/dev", read | AccessFs::WriteFile)?,
            within("/dev/shm", all)?,
            within("/tmp", all)?,
            within(WORK, all)?,
        ];
        let text = |it: landlock::RulesetError| it.to_string();
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V2))
            .map_err(text)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)
            .and_then(|it| it.handle_access(AccessNet::from_all(ABI::V4)))
            .and_then(|it| it.scope(Scope::from_all(ABI::V6)))
            .and_then(Ruleset::create)
            .map_err(text)?;
        for rule in rules {
            ruleset = ruleset.add_rule(rule).map_err(text)?;
        }
        ruleset.restrict_self().map_err(text)
    })();
    match restricted {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced => Ok(()),
        Ok(_) => Err(layer("it is switched off".to_owned())),
        Err(reason) => Err(layer(reason)),
    }
}

/// Limits the step that is about to start; later steps may have less, never more.
///
/// # Errors
///
/// [`SetupError::Layer`] when a limit is refused.
pub(crate) fn limit(step: &Step, limits: &Limits) -> Result<(), SetupError> {
    // The node and everybody else on the machine come first; where that is refused, they do not.
    let _ = nice(STANDS_BACK);
    // The process that runs the steps counts as well.
    let processes = limits.processes.saturating_add(1);
    for (resource, most) in [
        (Resource::Nproc, processes),
        (Resource::Data, step.memory.as_bytes().saturating_add(RESERVE)),
        (Resource::Fsize, limits.files.as_bytes()),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(
            |errno| SetupError::layer("resource limits", format!("{resource:?}: {errno}")),
        )?;
    }
    Ok(())
}
