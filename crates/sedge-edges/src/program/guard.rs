//! The guard before tools that need a person's yes: it believes the owner's key and nobody else.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sedge_base::{Clock, ErrorKind, NodeId, Timestamp};
use sedge_trust::approval::{
    ApprovalError, ArgumentsError, MAX_APPROVAL_BYTES, Run, canonical_arguments,
};
use sedge_trust::canonical::ReadError;
use sedge_trust::{Approval, Nonce};

use crate::registration::EdgeId;

/// How much longer than it holds an approval is remembered: as far as a clock may be set back.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// The most approvals that are remembered; with more, nothing runs until the first are over.
const MOST: usize = 16_384;

/// The largest file of used approvals: every line of [`MOST`].
const MAX_FILE: u64 = (MOST as u64) * 64;

/// Says which runs a person has approved, each once, also over restarts.
#[derive(Debug)]
pub struct Guard {
    owner: NodeId,
    edge: EdgeId,
    clock: Clock,
    used: Mutex<Used>,
}

/// The approvals that were used: on disk before anything runs.
#[derive(Debug)]
struct Used {
    path: PathBuf,
    file: File,
    until: HashMap<Nonce, Timestamp>,
    /// Whether the last line may be half there.
    torn: bool,
    /// Held for the life of this value, so that two guards never share what they remember.
    _lock: File,
}

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The file cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another edge remembers its approvals there.
    #[error("another edge runs with {}", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error("{} is damaged: line {line} is no approval", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

impl GuardError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            Self::File { .. } => ErrorKind::Internal,
            Self::Locked { .. } => ErrorKind::Conflict,
            Self::Damaged { .. } => ErrorKind::Corrupt,
        }
    }
}

/// Why a run is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardRefused {
    /// Nobody's signature came with the request.
    #[error("no signed approval came with the request")]
    Missing,
    /// What came is no approval.
    #[error("what came with the request is no approval")]
    Form(#[source] ReadError),
    /// The arguments are none.
    #[error("the arguments cannot be compared with what was approved")]
    Arguments(#[source] ArgumentsError),
    /// The approval does not hold for this run.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// It was used before.
    #[error("the approval was used before, and it is for one run")]
    Used,
    /// There is no room to remember another one.
    #[error("{MOST} approvals are remembered, which is the limit")]
    Full,
    /// The disk does not take that it is used now.
    #[error("cannot write {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The program stops.
    #[error("the edge stops")]
    Stopping,
}

impl GuardRefused {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing | Self::Used => ErrorKind::Denied,
            Self::Form(it) => it.kind(),
            Self::Arguments(it) => it.kind(),
            Self::Approval(it) => it.kind(),
            Self::Full => ErrorKind::Exhausted,
            Self::Disk { .. } => ErrorKind::Internal,
            Self::Stopping => ErrorKind::Cancelled,
        }
    }
}

impl Guard {
    /// Makes the guard of an edge whose swarm has this owner; what was used is kept at `path`.
    ///
    /// # Errors
    ///
    /// [`GuardError`], which names the file.
    pub fn open(
        path: &Path,
        owner: NodeId,
        edge: EdgeId,
        clock: Clock,
    ) -> Result<Self, GuardError> {
        let used = Mutex::new(Used::open(path, clock.now())?);
        Ok(Self { owner, edge, clock, used })
    }

    /// Returns the edge whose guard this is.
    pub const fn edge(&self) -> &EdgeId {
        &self.edge
    }

    /// Returns the arguments to run a tool with, in the very form that was approved. The approval is
    /// used up then, and that is on disk.
    ///
    /// # Errors
    ///
    /// [`GuardRefused`]; nothing may run then.
    pub fn admit(
        &self,
        tool: &str,
        input: &str,
        approval: Option<&str>,
    ) -> Result<String, GuardRefused> {
        let approval = approval.filter(|it| !it.is_empty()).ok_or(GuardRefused::Missing)?;
        let approval = Approval::read(approval.as_bytes()).map_err(GuardRefused::Form)?;
        let (text, arguments) =
            canonical_arguments(input.as_bytes()).map_err(GuardRefused::Arguments)?;
        let runs_on = self.edge.right();
        let capability = format!("{runs_on}.{tool}");
        let now = self.clock.now();
        let run = Run { runs_on: &runs_on, capability: &capability, arguments };
        approval.permits(run, &self.owner, now)?;
        let until = approval.facts.expires_at.plus(REMEMBERED);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.take(approval.facts.question.nonce, until, now)?;
        drop(used);
        String::from_utf8(text).map_err(|_| GuardRefused::Missing)
    }
}

impl Used {
    fn open(path: &Path, now: Timestamp) -> Result<Self, GuardError> {
        let path = path.to_owned();
        let failed = |source| GuardError::File { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let lock = options.open(path.with_extension("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(GuardError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(GuardError::File { path, source }),
        }
        let file = options.open(&path).map_err(failed)?;
        let mut text = String::new();
        (&file).take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE {
            return Err(GuardError::Damaged { path, line: text.lines().count() });
        }
        let mut until = HashMap::new();
        // A line without an end was never acknowledged: nothing ran for it.
        let whole = text.rfind('\n').map_or("", |it| &text[..it]);
        for (number, line) in (1..).zip(whole.lines()) {
            let damaged = || GuardError::Damaged { path: path.clone(), line: number };
            let (nonce, at) = line.split_once(' ').ok_or_else(damaged)?;
            let nonce: Nonce = nonce.parse().map_err(|_| damaged())?;
            let at: u64 = at.parse().map_err(|_| damaged())?;
            until.insert(nonce, Timestamp::from_millis(at));
        }
        let mut used = Self { path: path.clone(), file, until, torn: false, _lock: lock };
        used.tidy(now).map_err(failed)?;
        Ok(used)
    }

    /// Uses an approval up; it is on disk then.
    fn take(&mut self, nonce: Nonce, until: Timestamp, now: Timestamp) -> Result<(), GuardRefused> {
        if self.until.contains_key(&nonce) {
            return Err(GuardRefused::Used);
        }
        if self.torn || self.until.len() >= MOST {
            self.tidy(now).map_err(|source| self.disk(source))?;
            if self.until.len() >= MOST {
                return Err(GuardRefused::Full);
            }
        }
        // Before it is written: what is half on disk counts as used.
        self.until.insert(nonce, until);
        self.torn = true;
        let line = format!("{nonce} {}\n", until.as_millis());
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| self.disk(source))?;
        self.torn = false;
        Ok(())
    }

    fn disk(&self, source: io::Error) -> GuardRefused {
        GuardRefused::Disk { path: self.path.clone(), source }
    }

    /// Puts a file with what is not over in the place of the old one.
    fn tidy(&mut self, now: Timestamp) -> io::Result<()> {
        self.until.retain(|_, until| *until > now);
        let text: String =
            self.until.iter().map(|(nonce, at)| format!("{nonce} {}\n", at.as_millis())).collect();
        let beside = self.path.with_extension("new");
        if let Err(error) = std::fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        let mut next = options.append(true).create_new(true).mode(0o600).open(&beside)?;
        next.write_all(text.as_bytes())?;
        next.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        self.file = next;
        self.torn = false;
        Ok(())
    }
}

/// The longest approval fits into a request with room to spare.
const _: () = assert!(MAX_APPROVAL_BYTES < 1 << 20);

#[cfg(test)]
mod tests;
