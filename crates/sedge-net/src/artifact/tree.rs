//! The tree of hashes above an artifact's bytes, and what it can prove.
//!
//! The only file that knows the format of the verified stream: Bao over BLAKE3, combined into
//! groups of 16 KiB.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{
    DecodeResponseIter, OutboardMut as _, ReadAt, WriteAt, encode_ranges_validated, outboard,
};
use bao_tree::io::{BaoContentItem, DecodeError, EncodeError};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges, blake3};
use sedge_base::ArtifactId;

/// How many bytes are verified at once.
pub const GROUP: u64 = 16 << 10;

/// The same as [`GROUP`], as a power of two of chunks of 1 KiB.
const BLOCK: BlockSize = BlockSize::from_chunk_log(4);

/// How much of a file is read at once while its tree is made.
const READ_AHEAD: usize = 1 << 20;

/// The two files of an artifact.
#[derive(Debug)]
pub struct ArtifactFiles {
    /// Its bytes.
    pub data: File,
    /// The hashes above them, 64 bytes for every two groups.
    pub tree: File,
}

/// How much of an artifact is on disk and proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// Bytes from the beginning without a gap.
    pub prefix: u64,
    /// Whether the last group is there too.
    pub ending: bool,
}

/// Makes the tree of an artifact's bytes, and returns its id. Reads every byte; blocks.
///
/// # Errors
///
/// What the system says about either file; [`io::ErrorKind::InvalidInput`] for an empty artifact.
pub fn plant(files: &ArtifactFiles, size: u64) -> io::Result<ArtifactId> {
    if size == 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut data = &files.data;
    data.rewind()?;
    let mut board = board(files, ArtifactId::from_bytes([0; 32]), size);
    let root = outboard(BufReader::with_capacity(READ_AHEAD, data), board.tree, &mut board)?;
    Ok(ArtifactId::from_bytes(*root.as_bytes()))
}

/// Reads how much of an artifact the files hold and prove. Reads what is there; blocks.
///
/// # Errors
///
/// What the system says about either file; damage is no error, it proves less.
pub fn check(files: &ArtifactFiles, id: ArtifactId, size: u64) -> io::Result<Holds> {
    let prefix = proven(files, id, size, 0..size)?;
    let ending = last_group(size);
    let ending = prefix == size || proven(files, id, size, ending.clone())? == ending.end;
    Ok(Holds { prefix, ending })
}

/// Returns where the proven part of a range ends.
fn proven(files: &ArtifactFiles, id: ArtifactId, size: u64, range: Range<u64>) -> io::Result<u64> {
    let read = Cell::new(None);
    let proven = Cell::new(range.start);
    let data = Noted { file: &files.data, read: &read };
    let sink = Noting { read: &read, proven: &proven };
    match encode_ranges_validated(data, board(files, id, size), &chunks(&range), sink) {
        Ok(()) | Err(EncodeError::ParentHashMismatch(_) | EncodeError::LeafHashMismatch(_)) => {}
        Err(EncodeError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error.into()),
    }
    Ok(proven.get())
}

/// Returns the bytes of the last group.
pub(super) const fn last_group(size: u64) -> Range<u64> {
    let start = size.saturating_sub(1) / GROUP * GROUP;
    start..size
}

/// Writes a range as a verified stream, each group checked before it is written. Blocks.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] when the files do not hold the range, and what the system or
/// `to` says.
pub(super) fn emit(
    files: &ArtifactFiles,
    (id, size): (ArtifactId, u64),
    range: &Range<u64>,
    to: impl Write,
) -> io::Result<()> {
    let board = board(files, id, size);
    encode_ranges_validated(At(&files.data), board, &chunks(range), to).map_err(io::Error::from)
}

/// A piece of an artifact that was proven.
pub(super) struct Proven(BaoContentItem);

impl Proven {
    /// Writes it to its place; returns where its bytes end, `None` when it is a hash.
    pub(super) fn store(
        &self,
        files: &ArtifactFiles,
        id: ArtifactId,
        size: u64,
    ) -> io::Result<Option<u64>> {
        match &self.0 {
            BaoContentItem::Parent(parent) => {
                board(files, id, size).save(parent.node, &parent.pair).map(|()| None)
            }
            BaoContentItem::Leaf(leaf) => {
                files.data.write_all_at(&leaf.data, leaf.offset)?;
                Ok(Some(leaf.offset + leaf.data.len() as u64))
            }
        }
    }
}

/// Why a verified stream gives nothing more.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It ended early.
    Cut,
    /// A hash or a group is not what the id says.
    Wrong,
    /// Reading it, or storing what it proved, failed.
    Io(io::Error),
}

/// Reads a range from a verified stream and hands on what was proven. Blocks.
pub(super) fn absorb(
    (id, size): (ArtifactId, u64),
    range: &Range<u64>,
    from: impl Read,
    mut take: impl FnMut(Proven) -> io::Result<()>,
) -> Result<(), Flaw> {
    let root = blake3::Hash::from_bytes(*id.as_bytes());
    let ranges = chunks(range);
    for item in DecodeResponseIter::new(root, BaoTree::new(size, BLOCK), from, &ranges) {
        let item = item.map_err(|error| match error {
            DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => Flaw::Cut,
            DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_) => Flaw::Wrong,
            DecodeError::Io(error) => Flaw::Io(error),
        })?;
        take(Proven(item)).map_err(Flaw::Io)?;
    }
    Ok(())
}

/// Feeds a verified stream of an artifact of a size, both from the input; returns whether all of it was proven.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let Some((size, stream)) = bytes.split_first_chunk::<4>() else { return false };
    let size = u64::from(u32::from_be_bytes(*size));
    // The id that fits the first bytes, so that an input can also be right.
    let whole = stream.get(..usize::try_from(size).unwrap_or(usize::MAX)).unwrap_or_default();
    let id = ArtifactId::from_bytes(*blake3::hash(whole).as_bytes());
    let mut proven = 0;
    let absorbed = absorb((id, size), &(0..size), stream, |_| {
        proven += 1;
        Ok(())
    });
    absorbed.is_ok() && proven > 0
}

fn chunks(range: &Range<u64>) -> ChunkRanges {
    ChunkRanges::from(ChunkNum::full_chunks(range.start)..ChunkNum::chunks(range.end))
}

fn board(files: &ArtifactFiles, id: ArtifactId, size: u64) -> PreOrderOutboard<At<'_>> {
    let root = blake3::Hash::from_bytes(*id.as_bytes());
    PreOrderOutboard { root, tree: BaoTree::new(size, BLOCK), data: At(&files.tree) }
}

/// A file that is read and written by place, so that nobody moves anybody else's cursor.
struct At<'a>(&'a File);

impl ReadAt for At<'_> {
    fn read_at(&self, place: u64, into: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self.0, into, place)
    }
}

impl WriteAt for At<'_> {
    fn write_at(&mut self, place: u64, bytes: &[u8]) -> io::Result<usize> {
        FileExt::write_at(self.0, bytes, place)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that notes how far it was read.
struct Noted<'a> {
    file: &'a File,
    read: &'a Cell<Option<u64>>,
}

impl ReadAt for Noted<'_> {
    fn read_at(&self, place: u64, into: &mut [u8]) -> io::Result<usize> {
        let got = FileExt::read_at(self.file, into, place)?;
        self.read.set(Some(place + got as u64));
        Ok(got)
    }
}

/// Throws away what it is given, which was proven just before.
struct Noting<'a> {
    read: &'a Cell<Option<u64>>,
    proven: &'a Cell<u64>,
}

impl Write for Noting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(end) = self.read.take() {
            self.proven.set(end);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
