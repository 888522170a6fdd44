//! One process at a time brings a file; the others wait for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use sedge_base::Cancel;

/// How often a waiting process looks again.
const LOOK: Duration = Duration::from_millis(100);

/// The right to write one part; given back when dropped, and by the operating system when the
/// process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the right; `None` when the caller said stop first. Tells `waiting` how long the
    /// file at `part` is meanwhile.
    pub(super) fn take(
        path: &Path,
        part: &Path,
        cancel: &Cancel,
        waiting: &mut dyn FnMut(u64),
    ) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path)?;
        while !cancel.is_cancelled() {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::WouldBlock) => {
                    // A part that is just being moved in place has no length; that harms nobody.
                    waiting(part.metadata().map_or(0, |it| it.len()));
                    std::thread::park_timeout(LOOK);
                }
                Err(TryLockError::Error(err)) => return Err(err),
            }
        }
        Ok(None)
    }
}
