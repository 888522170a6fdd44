//! A program of a stranger in a room of its own: namespaces, Landlock, seccomp, limits.
//!
//! A [`Launcher`] runs the [`Step`]s of a [`Room`] in fresh user, process, network, mount, IPC and
//! host-name namespaces. Inside there is a read-only system, two small folders in memory, no
//! network, no rights and no way to get any. `docs/decisions/0023-a-room-for-native-sandboxes.md`
//! says which layer stops what.
//!
//! Three processes stand between the caller and the stranger's, all of them this program's own file
//! started again, because a process can only be contained before it runs: the *keeper* outside,
//! which watches memory and ends everything when the caller goes away; *init* inside, which builds
//! the room; and one in the room that has given up everything and runs the *steps*.
//!
//! Invariants: a layer that this kernel does not have is an error, never left out; when the caller,
//! the keeper or init ends, by whatever means, everything inside ends; what is kept of a program's
//! output is bounded while it is read; this crate knows no languages, no tasks and no network.
//!
//! ```no_run
//! use std::time::Duration;
//! use sedge_sandbox::{Launcher, Room, Step};
//!
//! # async fn example() -> Result<(), sedge_sandbox::ContainError> {
//! let launcher = Launcher::of_this_program(&["contain"]);
//! let room = Room { steps: vec![Step::run(["/bin/bash", "-c", "id"])], ..Room::default() };
//! let ran = launcher.run(&room, Duration::from_secs(5)).await?;
//! println!("{:?}: {}", ran.ended, ran.stdout.text);
//! # Ok(())
//! # }
//! ```

mod capture;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod folder;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod keeper;
mod launch;
#[cfg(target_os = "linux")]
mod memory;
mod plan;
#[cfg(target_os = "linux")]
mod rights;
#[cfg(target_os = "linux")]
mod root;
mod stage;
#[cfg(target_os = "linux")]
mod steps;

pub use capture::{Captured, MOST_CHARACTERS};
#[cfg(target_os = "linux")]
pub use folder::{Entry, Folder, FolderError};
pub use launch::{ContainError, Launcher, Ran};
pub use plan::{Ended, Limits, Room, RoomFile, SetupError, Step};
pub use stage::{Stage, enter};
