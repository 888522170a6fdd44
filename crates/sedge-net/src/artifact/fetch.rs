//! Fetching an artifact from those who have it: what is here stays, what is wrong is never kept.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sedge_base::{ArtifactId, ErrorKind, NodeId};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::holder::{Holder, HolderError};
use super::tree::{self, ArtifactFiles, Flaw, Proven, absorb, last_group};

/// How many pieces wait to be checked: enough to receive the next while one is written.
const AHEAD: usize = 4;

/// How far an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// How many bytes are here and proven.
    pub here: u64,
    /// Its size in bytes; 0 while that is not proven.
    pub size: u64,
}

/// Why a holder's answer gives nothing more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// What it sent is not the artifact; nothing of it was kept.
    #[error("it sent wrong data after byte {at}")]
    Wrong {
        /// Up to where everything was right.
        at: u64,
    },
    /// It ended its answer early.
    #[error("it broke off after byte {at}")]
    Cut {
        /// Up to where everything came.
        at: u64,
    },
    /// It did not answer, or not to the end.
    #[error(transparent)]
    Holder(#[from] HolderError),
    /// The artifact could not be written here.
    #[error("the artifact cannot be written here")]
    Disk(#[source] io::Error),
}

impl PullError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Wrong { .. } => ErrorKind::Corrupt,
            Self::Cut { .. } => ErrorKind::Unavailable,
            Self::Holder(error) => error.kind(),
            Self::Disk(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            },
        }
    }
}

/// An artifact whose size a holder has proven with its last group.
pub struct Probed {
    id: ArtifactId,
    size: u64,
    ending: Vec<Proven>,
}

impl Probed {
    /// Returns the size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Writes the last group to the files of the artifact. Blocks for one group.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn store(&self, files: &ArtifactFiles) -> io::Result<()> {
        self.ending.iter().try_for_each(|it| it.store(files, self.id, self.size).map(drop))
    }
}

impl std::fmt::Debug for Probed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, size, ending: _ } = self;
        f.debug_struct("Probed").field("id", id).field("size", size).finish_non_exhaustive()
    }
}

/// Lets a holder prove the size that it claims, by the last group.
///
/// # Errors
///
/// [`PullError`]; a wrong size is [`PullError::Wrong`].
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
pub async fn probe(holder: &dyn Holder, id: ArtifactId, size: u64) -> Result<Probed, PullError> {
    if size == 0 {
        return Err(PullError::Wrong { at: 0 });
    }
    let range = last_group(size);
    let start = range.start;
    let (sender, pieces) = mpsc::channel(AHEAD);
    let wanted = range.clone();
    let absorbing = spawn_blocking(move || {
        let mut ending = Vec::new();
        let from = Arriving { pieces, piece: Bytes::new() };
        let absorbed = absorb((id, size), &wanted, from, |it| {
            ending.push(it);
            Ok(())
        });
        absorbed.map(|()| ending)
    });
    let given = holder.give(id, range, sender).await;
    let absorbed = absorbing.await.unwrap_or_else(|error| Err(Flaw::Io(error.into())));
    let ending = verdict(absorbed, given, start)?;
    Ok(Probed { id, size, ending })
}

/// What one holder gave.
#[derive(Debug)]
pub struct Drawn {
    /// Who.
    pub node: NodeId,
    /// How many bytes of the artifact it gave that were right, hashes not counted.
    pub bytes: u64,
    /// Why it gave no more, unless it gave all.
    pub fault: Option<PullError>,
}

/// An artifact on its way: its files here, and how far they are.
#[derive(Debug)]
pub struct Fetch {
    id: ArtifactId,
    size: u64,
    files: Arc<ArtifactFiles>,
    /// What is missing: everything before and behind it is here and proven.
    missing: Range<u64>,
    progress: watch::Sender<Progress>,
}

impl Fetch {
    /// Goes on with what the files hold and prove. `size` was proven before.
    ///
    /// # Errors
    ///
    /// What the system says about the files.
    pub async fn open(
        id: ArtifactId,
        size: u64,
        files: ArtifactFiles,
        progress: watch::Sender<Progress>,
    ) -> io::Result<Self> {
        let files = Arc::new(files);
        let reading = Arc::clone(&files);
        let holds = spawn_blocking(move || tree::check(&reading, id, size)).await??;
        let end = if holds.ending { last_group(size).start } else { size };
        let missing = holds.prefix..end.max(holds.prefix);
        let fetch = Self { id, size, files, missing, progress };
        fetch.progress.send_replace(Progress { here: fetch.here(), size });
        Ok(fetch)
    }

    /// Returns the size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns how many bytes are here and proven.
    pub const fn here(&self) -> u64 {
        self.size - (self.missing.end - self.missing.start)
    }

    /// Returns whether everything is here.
    pub const fn is_whole(&self) -> bool {
        self.here() == self.size
    }

    /// Returns the files.
    pub const fn files(&self) -> &Arc<ArtifactFiles> {
        &self.files
    }

    /// Draws what is missing from one holder after the other until all is here.
    ///
    /// Returns what each of those who were asked gave; look at [`Fetch::is_whole`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps what was proven; [`Fetch::open`] finds it.
    pub async fn draw(&mut self, holders: &[Arc<dyn Holder>]) -> Vec<Drawn> {
        let mut drawn = Vec::new();
        for holder in holders {
            if self.is_whole() {
                break;
            }
            let before = self.here();
            let fault = self.pull(holder.as_ref()).await.err();
            let disk = matches!(fault, Some(PullError::Disk(_)));
            drawn.push(Drawn { node: holder.node(), bytes: self.here() - before, fault });
            // Another holder does not make room here.
            if disk {
                break;
            }
        }
        drawn
    }

    async fn pull(&mut self, holder: &dyn Holder) -> Result<(), PullError> {
        let (id, size, range) = (self.id, self.size, self.missing.clone());
        let (sender, pieces) = mpsc::channel(AHEAD);
        let (files, progress) = (Arc::clone(&self.files), self.progress.clone());
        let (wanted, here) = (range.clone(), self.here());
        // The bytes that are proven are told as they are written: a cut loses none of them.
        let (end, mut ends) = watch::channel(range.start);
        let absorbing = spawn_blocking(move || {
            let from = Arriving { pieces, piece: Bytes::new() };
            absorb((id, size), &wanted, from, |proven| {
                if let Some(to) = proven.store(&files, id, size)? {
                    end.send_replace(to);
                    let here = here + (to - wanted.start);
                    progress.send_replace(Progress { here, size });
                }
                Ok(())
            })
        });
        let given = holder.give(id, range, sender).await;
        let absorbed = absorbing.await.unwrap_or_else(|error| Err(Flaw::Io(error.into())));
        self.missing.start = *ends.borrow_and_update();
        verdict(absorbed, given, self.missing.start)
    }
}

/// Weighs what was received against what the holder said at the end.
fn verdict<T>(
    absorbed: Result<T, Flaw>,
    given: Result<(), HolderError>,
    at: u64,
) -> Result<T, PullError> {
    match (absorbed, given) {
        (Ok(all), _) => Ok(all),
        (Err(Flaw::Wrong), _) => Err(PullError::Wrong { at }),
        (Err(Flaw::Io(error)), _) => Err(PullError::Disk(error)),
        (Err(Flaw::Cut), Err(why)) => Err(PullError::Holder(why)),
        (Err(Flaw::Cut), Ok(())) => Err(PullError::Cut { at }),
    }
}

/// Reads pieces as they arrive. Blocks while there is none.
struct Arriving {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(next) => self.piece = next,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.piece.len());
        into[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
