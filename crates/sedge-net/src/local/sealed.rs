//! Bytes in a memory file that nobody can change any more, passed to another process by descriptor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use tokio::io::ReadBuf;

use crate::packet::{PIECE, malformed};

/// What makes a file safe to read while its writer lives: no byte and no length changes.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// A sealed memory file and how far it was read.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: File,
    at: usize,
    size: usize,
}

impl Sealed {
    /// Writes bytes into a new memory file and seals it.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Self> {
        let file = memfd_create("sedge", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(file);
        file.write_all(bytes)?;
        fcntl_add_seals(&file, SEALS | SealFlags::SEAL)?;
        Ok(Self { file, at: 0, size: bytes.len() })
    }

    /// Takes a descriptor that a peer passed, if it is what it was announced to be.
    pub(crate) fn accept(file: OwnedFd, size: usize, at_most: usize) -> io::Result<Self> {
        if size < PIECE || size > at_most {
            return Err(malformed("a memory file has a wrong size"));
        }
        // Whatever has seals is memory: no device, no file on a slow disk.
        let seals = fcntl_get_seals(&file).map_err(|_| malformed("not a memory file"))?;
        if !seals.contains(SEALS) {
            return Err(malformed("a memory file is not sealed"));
        }
        let file = File::from(file);
        if file.metadata()?.len() != size as u64 {
            return Err(malformed("a memory file has another size"));
        }
        Ok(Self { file, at: 0, size })
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Returns how many bytes were not read yet.
    pub(crate) const fn len(&self) -> usize {
        self.size - self.at
    }

    /// Reads straight into the reader's own buffer; returns how much.
    pub(crate) fn read(&mut self, into: &mut ReadBuf<'_>) -> io::Result<usize> {
        let some = self.len().min(into.remaining());
        let target = into.initialize_unfilled_to(some);
        self.file.read_exact_at(target, self.at as u64)?;
        into.advance(some);
        self.at += some;
        Ok(some)
    }

    /// Reads all of it and closes the file.
    pub(crate) fn into_bytes(self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len()];
        self.file.read_exact_at(&mut bytes, self.at as u64)?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = PIECE + 9;

    #[test]
    fn what_was_sealed_is_read_and_cannot_be_changed() {
        let sealed = Sealed::new(&[7; SIZE]).unwrap();
        assert!(sealed.file().write_at(b"x", 0).is_err());
        assert!(sealed.file().set_len(3).is_err());
        let passed = Sealed::accept(sealed.file().try_clone().unwrap().into(), SIZE, SIZE).unwrap();
        assert_eq!(passed.into_bytes().unwrap(), vec![7; SIZE]);
    }

    #[test]
    fn what_is_not_sealed_or_not_memory_is_refused() {
        let open = memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let open = File::from(open);
        open.set_len(SIZE as u64).unwrap();
        assert!(Sealed::accept(open.into(), SIZE, SIZE).is_err());
        let null = File::open("/dev/null").unwrap();
        assert!(Sealed::accept(null.into(), SIZE, SIZE).is_err());
        let sealed = Sealed::new(&[7; SIZE]).unwrap();
        let clone = || OwnedFd::from(sealed.file().try_clone().unwrap());
        assert!(Sealed::accept(clone(), SIZE + 1, 2 * SIZE).is_err());
        assert!(Sealed::accept(clone(), SIZE, SIZE - 1).is_err());
    }
}
