//! Bringing a model's file onto this machine: sources in order, resumed, checked, moved in place at once.

mod lock;
mod part;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sedge_base::{ByteSize, Cancel, ContentId, ErrorKind};

use crate::catalog::Model;
use crate::shelf::Shelf;
use crate::sources::{self, Pull, Source, SourceError, SourceSettings};

use lock::Lock;
pub(crate) use part::Part;
pub use part::PartError;

/// How much disk stays free besides what a download needs: the node's own database must be able to
/// grow meanwhile.
const SPARE: ByteSize = ByteSize::from_mib(64);

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The model's id.
    pub model: &'a str,
    /// Where its bytes come from now.
    pub source: &'a str,
    /// How many bytes are here.
    pub done: u64,
    /// How many there will be.
    pub total: u64,
}

/// Hears how far downloads are; called at least once per 64 KiB, so it should be quick.
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) + 'a;

/// One source's reason for not having brought the file.
#[derive(Debug)]
pub struct SourceFailure {
    /// The source, as a person would call it.
    pub source: String,
    /// Its reason.
    pub reason: SourceError,
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)?;
        let mut deeper = Error::source(&self.reason);
        while let Some(err) = deeper {
            write!(f, ": {err}")?;
            deeper = err.source();
        }
        Ok(())
    }
}

fn listed(failures: &[SourceFailure]) -> String {
    let texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Why a model's file is not here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No source brought the file.
    #[error("no source has `{model}`: {}", listed(failures))]
    Sources {
        /// The model's id.
        model: String,
        /// Each source's reason, in the order of trying.
        failures: Vec<SourceFailure>,
    },
    /// The model's folder cannot be used.
    #[error("cannot use the folder `{path}`")]
    Folder {
        /// Which folder or file in it.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The disk is too full.
    #[error("`{model}` needs {need} in `{path}`, {free} are free")]
    Disk {
        /// The model's id.
        model: String,
        /// The folder.
        path: PathBuf,
        /// What is needed, the spare room included.
        need: ByteSize,
        /// What there is.
        free: ByteSize,
    },
    /// The bytes could not be kept.
    #[error("cannot keep the bytes of `{model}`")]
    Part {
        /// The model's id.
        model: String,
        /// Why not.
        source: PartError,
    },
    /// The caller said stop; what has come so far stays for the next time.
    #[error("stopped")]
    Cancelled,
}

impl FetchError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sources { .. } => ErrorKind::Unavailable,
            Self::Folder { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            Self::Folder { .. } | Self::Part { .. } => ErrorKind::Internal,
            Self::Disk { .. } => ErrorKind::Exhausted,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }
}

/// Brings a model's file onto the shelf, unless it is there; returns its path.
///
/// Blocks; run it on a thread that may. A second process that wants the same file waits for the
/// first and hears its progress.
///
/// # Errors
///
/// [`FetchError`]; the bytes of an interrupted download stay for the next call.
pub(crate) fn fetch(
    model: &Model,
    shelf: &Shelf,
    settings: &SourceSettings,
    cancel: &Cancel,
    report: &mut OnProgress<'_>,
) -> Result<PathBuf, FetchError> {
    let folder_error = |path: &Path, source| FetchError::Folder { path: path.to_owned(), source };
    if let Some(path) = shelf.find(model.sha256, model.size) {
        return Ok(path);
    }
    shelf.make().map_err(|err| folder_error(shelf.folder(), err))?;
    let part_path = shelf.part(model.sha256);
    let mut wait = |done| {
        report(Progress { model: &model.id, source: "another process", done, total: model.size });
    };
    let lock_path = shelf.lock(model.sha256);
    let held = Lock::take(&lock_path, &part_path, cancel, &mut wait)
        .map_err(|err| folder_error(&lock_path, err))?;
    let Some(_held) = held else { return Err(FetchError::Cancelled) };
    // The process that held the lock before may have brought it; or it died before its stamp.
    if let Some(path) = shelf.find(model.sha256, model.size) {
        return Ok(path);
    }
    if shelf.restamp(model.sha256, model.size).map_err(|err| folder_error(shelf.folder(), err))? {
        return Ok(shelf.path(model.sha256));
    }
    let mut part = Part::open(&part_path, model.size)
        .map_err(|source| FetchError::Part { model: model.id.clone(), source })?;
    from_sources(&Wanted { model, shelf, settings }, &mut part, cancel, report)?;
    shelf.put(part.path(), model.sha256).map_err(|err| folder_error(shelf.folder(), err))?;
    Ok(shelf.path(model.sha256))
}

/// What is to be brought, whereto, and with which settings.
struct Wanted<'a> {
    model: &'a Model,
    shelf: &'a Shelf,
    settings: &'a SourceSettings,
}

/// Tries every source until the part holds the pinned bytes.
fn from_sources(
    wanted: &Wanted<'_>,
    part: &mut Part,
    cancel: &Cancel,
    report: &mut OnProgress<'_>,
) -> Result<(), FetchError> {
    let Wanted { model, settings, .. } = *wanted;
    let mut failures = Vec::new();
    for origin in sources::plan(model, settings) {
        let (_, source) = origin.source();
        let label = source.label(settings);
        let failure = if settings.offline && source.needs_network(settings) {
            SourceError::Offline
        } else {
            room(wanted, part, source)?;
            let mut said = |done, total| {
                report(Progress { model: &model.id, source: &label, done, total });
            };
            let mut pull = Pull { part, cancel, report: &mut said };
            match attempt(model.sha256, source, settings, &mut pull) {
                Ok(()) => return Ok(()),
                Err(SourceError::Cancelled) => return Err(FetchError::Cancelled),
                Err(SourceError::Part(source @ PartError::Write { .. })) => {
                    return Err(FetchError::Part { model: model.id.clone(), source });
                }
                Err(failure) => failure,
            }
        };
        failures.push(SourceFailure { source: label, reason: failure });
    }
    Err(FetchError::Sources { model: model.id.clone(), failures })
}

/// Lets one source complete the part, and checks what it brought.
///
/// Bytes of an earlier attempt may be to blame for a wrong hash: then the source gets a second try
/// from the first byte.
fn attempt(
    want: ContentId,
    source: &dyn Source,
    settings: &SourceSettings,
    pull: &mut Pull<'_>,
) -> Result<(), SourceError> {
    let resumed = pull.part.len() > 0;
    match complete(want, source, settings, pull) {
        Err(SourceError::Hash { .. }) if resumed => complete(want, source, settings, pull),
        other => other,
    }
}

fn complete(
    want: ContentId,
    source: &dyn Source,
    settings: &SourceSettings,
    pull: &mut Pull<'_>,
) -> Result<(), SourceError> {
    pull.check()?;
    if pull.part.len() < pull.part.total() {
        source.pull(settings, pull)?;
    }
    let (got, total) = (pull.part.len(), pull.part.total());
    if got != total {
        pull.part.restart()?;
        return Err(SourceError::Length { want: total, got });
    }
    let got = pull.part.hash();
    if got != want {
        pull.part.restart()?;
        return Err(SourceError::Hash { want, got });
    }
    Ok(pull.part.sync()?)
}

/// Checks that the disk has room for what is missing.
fn room(wanted: &Wanted<'_>, part: &Part, source: &dyn Source) -> Result<(), FetchError> {
    let path = wanted.shelf.folder();
    let stat = rustix::fs::statvfs(path)
        .map_err(|err| FetchError::Folder { path: path.to_owned(), source: err.into() })?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let missing = part.total().saturating_sub(part.len());
    let need = missing.saturating_add(source.scratch_bytes()).saturating_add(SPARE.as_bytes());
    if free >= need {
        return Ok(());
    }
    Err(FetchError::Disk {
        model: wanted.model.id.clone(),
        path: path.to_owned(),
        need: ByteSize::from_bytes(need),
        free: ByteSize::from_bytes(free),
    })
}
