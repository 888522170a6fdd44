//! What shall be run, and how it ended: what the processes of a sandbox tell each other.

use std::path::PathBuf;

use sedge_base::ByteSize;
use serde::{Deserialize, Serialize};

/// The folder that programs start in; what they leave there outlives them only in a session.
pub(crate) const WORK: &str = "/code";

/// A sandbox and what runs in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Files that lie in `/code` before the first step.
    pub files: Vec<RoomFile>,
    /// Folders and files of this machine that are seen inside, read-only, at the same place;
    /// `/usr` is always there.
    pub see: Vec<PathBuf>,
    /// The folder that is `/code`; one in memory when there is none.
    pub work: Option<PathBuf>,
    /// The whole environment of every step.
    pub env: Vec<(String, String)>,
    /// What the last step reads from its standard input.
    pub stdin: String,
    /// One after the other, until one fails.
    pub steps: Vec<Step>,
    /// What all of it may use.
    pub limits: Limits,
}

/// A file in `/code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomFile {
    /// Its name: one part, no folders.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// One program that runs to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The program by its full path, and its arguments.
    pub argv: Vec<String>,
    /// The most private memory of each of its processes, and of all together.
    pub memory: ByteSize,
}

impl Step {
    /// The memory of a step that says nothing else: that of the seed's sandbox.
    pub const USUAL_MEMORY: ByteSize = ByteSize::from_mib(256);

    /// Makes a step with the usual memory.
    pub fn run<'a>(argv: impl IntoIterator<Item = &'a str>) -> Self {
        let argv = argv.into_iter().map(str::to_owned).collect();
        Self { argv, memory: Self::USUAL_MEMORY }
    }
}

/// What everything in a sandbox may use together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The most processes and threads at the same time.
    pub processes: u64,
    /// The most bytes in each of `/code` and `/tmp`.
    pub files: ByteSize,
    /// The most bytes of output, both streams together, before the run is ended; what is kept of it
    /// is less, see [`MOST_CHARACTERS`](crate::MOST_CHARACTERS).
    pub flood: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes: 50, files: ByteSize::from_mib(100), flood: ByteSize::from_mib(64) }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// The step of that number, the last or the first that failed, ended by itself.
    Exited {
        /// Its number, from 0.
        step: usize,
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the step of that number.
    Signalled {
        /// Its number, from 0.
        step: usize,
        /// The signal.
        signal: i32,
    },
    /// Its processes together had more memory than they may.
    OutOfMemory {
        /// What they may have.
        limit: ByteSize,
    },
    /// The files in its session's folder took more room than they may.
    OutOfRoom {
        /// What they may take.
        limit: ByteSize,
    },
    /// It wrote more than it may.
    Flooded {
        /// What it may write.
        limit: ByteSize,
    },
    /// Its time was over, and everything in it was killed.
    TimedOut,
}

/// Why there is no sandbox. Nothing of the stranger's has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SetupError {
    /// A layer of protection is not to be had.
    #[error("this machine has no {layer} to contain a program with: {reason}")]
    Layer {
        /// Which.
        layer: String,
        /// What the operating system says, and what would help.
        reason: String,
    },
    /// Something that the program needs cannot be brought inside.
    #[error("cannot bring {} into the sandbox: {reason}", path.display())]
    Path {
        /// What.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The step's program does not start.
    #[error("cannot start {program}: {reason}")]
    Program {
        /// Which.
        program: String,
        /// What the operating system says.
        reason: String,
    },
    /// What was asked for is not understood.
    #[error("the plan of a sandbox is broken: {reason}")]
    Plan {
        /// What is wrong.
        reason: String,
    },
}

impl SetupError {
    /// Makes the error of a layer.
    #[cfg(target_os = "linux")]
    pub(crate) fn layer(layer: &str, reason: impl ToString) -> Self {
        Self::Layer { layer: layer.to_owned(), reason: reason.to_string() }
    }

    /// Makes the error of a path.
    #[cfg(target_os = "linux")]
    pub(crate) fn path(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Path { path: path.into(), reason: reason.to_string() }
    }
}

/// One line from init to the keeper, and from the keeper to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    /// A step is about to be started: watched from now on.
    Starts {
        /// Its number.
        step: usize,
    },
    /// The step of that number is its program now, and no copy of who starts it.
    Begins {
        /// Its number, from 0.
        step: usize,
    },
    /// The step that began last has ended; the kernel says that it had so much memory, in bytes.
    Used {
        /// The most of any of its processes that was waited for; 0 when that is not known.
        peak: u64,
    },
    /// Init's end; nothing follows.
    Done(Result<Ended, SetupError>),
    /// The keeper's end; nothing follows.
    Kept(Result<Figures, SetupError>),
}

/// How it ended and what it used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) ended: Ended,
    /// The most memory of the last step, in bytes.
    pub(crate) peak: u64,
}
