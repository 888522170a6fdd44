//! A file that is on this machine already.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Pull, Source, SourceError, SourceSettings};

/// A file of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
}

impl Source for Folder {
    fn label(&self, _: &SourceSettings) -> String {
        format!("file {}", self.path.display())
    }

    fn needs_network(&self, _: &SourceSettings) -> bool {
        false
    }

    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn pull(&self, _: &SourceSettings, pull: &mut Pull<'_>) -> Result<(), SourceError> {
        let read = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => SourceError::Missing { path: self.path.clone() },
            _ => SourceError::Read { path: self.path.clone(), source },
        };
        let mut file = File::open(&self.path).map_err(read)?;
        let (got, want) = (file.metadata().map_err(read)?.len(), pull.part.total());
        if got != want {
            return Err(SourceError::Length { want, got });
        }
        pull.part.restart()?;
        pull.drain(&mut file, read)
    }
}
