//! The file tree that a contained program sees.
//!
//! A tree in memory with a read-only `/usr`, what the plan names beside it, five devices, a `/proc`
//! of the sandbox's own processes, and two folders to write to. The machine's own tree is unmounted
//! before anything of a stranger's starts.

use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::pivot_root;
use rustix_namespaces::io::Errno;
use rustix_namespaces::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, unmount,
};

use crate::plan::{Room, SetupError, WORK};

/// Where the machine's tree is while the room is built.
const OLD: &str = "/old";
/// Where the room is built.
const NEW: &str = "/new";
/// Links or folders beside `/usr` that point into it on most systems, or take its place.
const BESIDE_USR: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store"];
/// What the dynamic linker and links of distributions need of `/etc`.
const OF_ETC: &[&str] =
    &["etc/alternatives", "etc/ld.so.cache", "etc/ld.so.conf", "etc/ld.so.conf.d"];
/// Devices that harm nobody.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// Builds the tree and makes it the root of this process; the machine's own is gone afterwards.
///
/// # Errors
///
/// [`SetupError`] naming the layer or the path.
pub(crate) fn build(room: &Room) -> Result<(), SetupError> {
    step_aside()?;
    system()?;
    for path in &room.see {
        see(path)?;
    }
    devices()?;
    make_folder(&inside("proc"))?;
    mount_proc()?;
    let size = room.limits.files.as_bytes();
    memory("tmp", size)?;
    match &room.work {
        None => memory(WORK.trim_start_matches('/'), size)?,
        Some(folder) => bind_writable(folder)?,
    }
    move_in()
}

/// Moves the machine's tree to [`OLD`] in a new, empty root, whose [`NEW`] is a tree in memory.
fn step_aside() -> Result<(), SetupError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|it| mounts("make the tree private", &it))?;
    let base = ["/tmp", "/var/tmp", "/mnt", "/run"].into_iter().find(|it| Path::new(it).is_dir());
    let base = Path::new(base.unwrap_or("/"));
    mount_memory(base, 1 << 20, "755").map_err(|it| mounts("a tree in memory", &it))?;
    let below = |name: &str| base.join(name.trim_start_matches('/'));
    for name in [OLD, NEW] {
        make_folder(&below(name))?;
    }
    pivot_root(base, below(OLD)).map_err(|it| mounts("leave the tree", &it))?;
    std::env::set_current_dir("/").map_err(|it| SetupError::path("/", it))?;
    mount_memory(Path::new(NEW), 4 << 20, "755").map_err(|it| mounts("a tree in memory", &it))
}

/// Brings in what every program of this system needs.
fn system() -> Result<(), SetupError> {
    bind(Path::new("usr"))?;
    for name in BESIDE_USR.iter().map(Path::new) {
        let (from, to) = (Path::new(OLD).join(name), Path::new(NEW).join(name));
        match fs::symlink_metadata(&from) {
            Ok(it) if it.is_symlink() => {
                let target = fs::read_link(&from).map_err(|it| SetupError::path(&from, it))?;
                symlink(target, &to).map_err(|it| SetupError::path(&to, it))?;
            }
            Ok(_) => bind(name)?,
            Err(_) => {}
        }
    }
    for name in OF_ETC.iter().map(Path::new) {
        if Path::new(OLD).join(name).exists() {
            bind(name)?;
        }
    }
    for (name, text) in [
        ("etc/passwd", "guest:x:65534:65534:guest:/tmp:/bin/sh\n"),
        ("etc/group", "guest:x:65534:\n"),
        ("etc/hosts", "127.0.0.1 localhost\n"),
    ] {
        let path = inside(name);
        make_parent(&path)?;
        fs::write(&path, text).map_err(|it| SetupError::path(&path, it))?;
    }
    Ok(())
}

/// Brings in something that the plan names, at the same place.
fn see(path: &Path) -> Result<(), SetupError> {
    let plain = path.is_absolute() && path.components().all(|it| it.as_os_str() != "..");
    let Ok(name) = path.strip_prefix("/") else {
        return Err(SetupError::path(path, "the path is not absolute"));
    };
    if !plain || name.as_os_str().is_empty() {
        return Err(SetupError::path(path, "not a path of a part of the tree"));
    }
    if name.starts_with("usr") { Ok(()) } else { bind(name) }
}

/// Makes a part of the machine's tree visible, read-only; `name` is relative to the root.
fn bind(name: &Path) -> Result<(), SetupError> {
    let (from, to) = (Path::new(OLD).join(name), Path::new(NEW).join(name));
    let told = |errno: Errno| SetupError::path(Path::new("/").join(name), errno);
    make_target(&from, &to)?;
    mount_bind(&from, &to).map_err(told)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | kept(&to);
    remount(&to, flags).map_err(told)
}

/// Makes the folder of a session `/code`.
fn bind_writable(folder: &Path) -> Result<(), SetupError> {
    let name = folder.strip_prefix("/").unwrap_or(folder);
    let (from, to) = (Path::new(OLD).join(name), inside(WORK));
    let told = |errno: Errno| SetupError::path(folder, errno);
    make_folder(&to)?;
    mount_bind(&from, &to).map_err(told)?;
    let flags = (MountFlags::NOSUID | MountFlags::NODEV | kept(&to)) - MountFlags::NOEXEC;
    remount(&to, flags).or_else(|_| remount(&to, flags | kept(&to))).map_err(told)
}

/// Returns the flags of a mount that nobody but its maker may take away.
fn kept(path: &Path) -> MountFlags {
    let Ok(seen) = statvfs(path) else { return MountFlags::empty() };
    let mut flags = MountFlags::empty();
    for (seen_flag, flag) in [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if seen.f_flag.contains(seen_flag) {
            flags |= flag;
        }
    }
    flags
}

/// Makes the error of a mount that is not to be had; two crates bring it, each with its own number.
fn mounts(what: &str, errno: &dyn Display) -> SetupError {
    SetupError::layer("mount namespace", format!("{what}: {errno}"))
}

fn remount(path: &Path, flags: MountFlags) -> Result<(), Errno> {
    mount_remount(path, flags | MountFlags::BIND, "")
}

fn devices() -> Result<(), SetupError> {
    make_folder(&inside("dev"))?;
    for name in DEVICES {
        let (from, to) = (Path::new(OLD).join("dev").join(name), inside("dev").join(name));
        make_target(&from, &to)?;
        mount_bind(&from, &to).map_err(|it| SetupError::path(Path::new("/dev").join(name), it))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        let to = inside("dev").join(name);
        symlink(format!("/proc/self/fd{target}"), &to).map_err(|it| SetupError::path(&to, it))?;
    }
    memory("dev/shm", 16 << 20)
}

fn mount_proc() -> Result<(), SetupError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", inside("proc"), "proc", flags, "subset=pid").map_err(|it| {
        let help = "inside another container, its `/proc` has to be whole";
        SetupError::path("/proc", format!("{it}; {help}"))
    })
}

/// Makes a folder in memory that anybody may write to.
fn memory(name: &str, size: u64) -> Result<(), SetupError> {
    let to = inside(name);
    make_folder(&to)?;
    mount_memory(&to, size, "1777").map_err(|it| SetupError::path(Path::new("/").join(name), it))
}

fn mount_memory(at: &Path, size: u64, mode: &str) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = format!("size={size},nr_inodes=20000,mode={mode}");
    mount("tmpfs", at, "tmpfs", flags, options.as_str())
}

/// Makes [`NEW`] the root, read-only, and unmounts the machine's tree.
fn move_in() -> Result<(), SetupError> {
    let behind = inside(".behind");
    make_folder(&behind)?;
    pivot_root(NEW, &behind).map_err(|it| mounts("enter the room", &it))?;
    std::env::set_current_dir("/").map_err(|it| SetupError::path("/", it))?;
    unmount("/.behind", UnmountFlags::DETACH).map_err(|it| mounts("leave the tree behind", &it))?;
    fs::remove_dir("/.behind").map_err(|it| SetupError::path("/.behind", it))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    remount(Path::new("/"), flags).map_err(|it| mounts("close the room", &it))
}

/// Returns where something of the room is while it is built.
fn inside(name: &str) -> PathBuf {
    Path::new(NEW).join(name.trim_start_matches('/'))
}

/// Makes something to mount `from` on.
fn make_target(from: &Path, to: &Path) -> Result<(), SetupError> {
    let seen = fs::metadata(from).map_err(|it| SetupError::path(from, it))?;
    if seen.is_dir() {
        return make_folder(to);
    }
    make_parent(to)?;
    fs::write(to, "").map_err(|it| SetupError::path(to, it))
}

fn make_parent(path: &Path) -> Result<(), SetupError> {
    path.parent().map_or(Ok(()), make_folder)
}

/// Makes a folder, and those above it, that everybody may look into.
fn make_folder(path: &Path) -> Result<(), SetupError> {
    let told = |err: io::Error| SetupError::path(path, err);
    if path.is_dir() {
        return Ok(());
    }
    make_parent(path)?;
    fs::create_dir(path).map_err(told)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(told)
}
