//! The caller's side: starts a sandbox, reads what it writes, and ends it in time.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use crate::capture::{Captured, Flood, capture};
use crate::plan::{Ended, Figures, Room, SetupError, Word};

/// How long a sandbox may take to end once it was told to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Starts sandboxes.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    arguments: Vec<String>,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub ended: Ended,
    /// What all steps wrote to their standard output.
    pub stdout: Captured,
    /// What all steps wrote to their standard error.
    pub stderr: Captured,
    /// The most memory of the last step that ran: of one process the kernel's own high-water mark, of
    /// several the largest sum, as seen every 5 ms at first and every 20 ms later; 0 when the step
    /// was over before it was seen and had less than this program itself.
    pub peak_memory: ByteSize,
    /// Time from the first namespace to the end.
    pub took: Duration,
}

/// Why nothing came of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainError {
    /// There is no sandbox; nothing ran.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The program's own file does not start.
    #[error("the keeper of a sandbox does not start")]
    Start(#[source] io::Error),
    /// The keeper ended without a word.
    #[error("the keeper of a sandbox was lost")]
    Lost(#[source] io::Error),
}

impl ContainError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Setup(SetupError::Plan { .. }) => ErrorKind::Internal,
            Self::Setup(_) => ErrorKind::Unsupported,
            Self::Start(_) | Self::Lost(_) => ErrorKind::Internal,
        }
    }
}

impl Launcher {
    /// Makes a launcher that starts this very program again with these arguments, on which it calls
    /// [`enter`](crate::enter).
    pub fn of_this_program(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        // Also when the file was replaced since: the process's own image.
        Self { program: PathBuf::from("/proc/self/exe"), arguments }
    }

    /// Runs the steps of a room, `within` at most.
    ///
    /// # Errors
    ///
    /// See [`ContainError`]. A program that fails, or is ended, is no error here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the sandbox and everything in it.
    pub async fn run(&self, room: &Room, within: Duration) -> Result<Ran, ContainError> {
        let began = Instant::now();
        let mut line =
            serde_json::to_vec(room).map_err(|it| SetupError::Plan { reason: it.to_string() })?;
        line.push(b'\n');
        let (mut child, mut keeper) = self.start().map_err(ContainError::Start)?;
        keeper.write_all(&line).await.map_err(ContainError::Lost)?;
        let most = room.limits.flood;
        let flood = Flood::new(most.as_bytes());
        let stdout = child.stdout.take().map(|it| capture(it, Arc::clone(&flood)));
        let stderr = child.stderr.take().map(|it| capture(it, Arc::clone(&flood)));
        let ending = async {
            let figures = end(keeper, began + within, &flood, most).await;
            if figures.is_err() {
                // It does not end by itself; what it started ends with it.
                drop(child.start_kill());
            }
            figures
        };
        // Everything inside has ended with the keeper, and with it the streams.
        let (figures, stdout, stderr) = tokio::join!(ending, all(stdout), all(stderr));
        let took = began.elapsed();
        if timeout(ENDS_WITHIN, child.wait()).await.is_err() {
            drop(child.start_kill());
        }
        let Figures { ended, peak } = figures?;
        let peak_memory = ByteSize::from_bytes(peak);
        Ok(Ran { ended, stdout, stderr, peak_memory, took })
    }

    fn start(&self) -> io::Result<(Child, UnixStream)> {
        let (mine, theirs) = std::os::unix::net::UnixStream::pair()?;
        mine.set_nonblocking(true)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok((child, UnixStream::from_std(mine)?))
    }
}

async fn all(stream: Option<impl Future<Output = Captured>>) -> Captured {
    match stream {
        Some(stream) => stream.await,
        None => Captured::default(),
    }
}

/// Waits for the keeper's last word; hangs up when the time is over or too much was written.
async fn end(
    keeper: UnixStream,
    deadline: Instant,
    flood: &Flood,
    most: ByteSize,
) -> Result<Figures, ContainError> {
    let (reader, mut writer) = keeper.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    let mut read = pin!(reader.read_line(&mut line));
    let because = tokio::select! {
        biased;
        read = timeout_at(deadline, &mut read) => match read {
            Ok(read) => {
                read.map_err(ContainError::Lost)?;
                None
            }
            Err(_) => Some(Ended::TimedOut),
        },
        () = flood.over() => Some(Ended::Flooded { limit: most }),
    };
    let Some(because) = because else { return figures(&line) };
    writer.shutdown().await.map_err(ContainError::Lost)?;
    match timeout(ENDS_WITHIN, read).await {
        Ok(read) => drop(read.map_err(ContainError::Lost)?),
        Err(_) => return Err(ContainError::Lost(io::ErrorKind::TimedOut.into())),
    }
    let figures = figures(&line)?;
    let ended = if figures.ended == Ended::TimedOut { because } else { figures.ended };
    Ok(Figures { ended, ..figures })
}

fn figures(line: &str) -> Result<Figures, ContainError> {
    match serde_json::from_str(line) {
        Ok(Word::Kept(done)) => Ok(done?),
        Ok(Word::Starts { .. } | Word::Begins { .. } | Word::Used { .. } | Word::Done(_))
        | Err(_) => Err(ContainError::Lost(io::ErrorKind::UnexpectedEof.into())),
    }
}
