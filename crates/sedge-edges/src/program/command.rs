//! One run of a command: JSON in, text out, an end.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The longest answer, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// How much of what a command complains about is told, in bytes.
const MAX_COMPLAINT: u64 = 4 << 10;

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It cannot be started.
    #[error("the command does not start")]
    Start(#[source] io::Error),
    /// It cannot be spoken with.
    #[error("the command cannot be spoken with")]
    Pipe(#[source] io::Error),
    /// It took too long.
    #[error("the command did not end within {0:?}")]
    Late(Duration),
    /// Nobody wants its answer any more.
    #[error("the run was cancelled")]
    Cancelled,
    /// It failed by itself.
    #[error("the command failed: {status}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to its standard error.
        complaint: String,
    },
    /// It wrote more than is taken.
    #[error("the command wrote more than 1 MiB")]
    TooMuch,
    /// It wrote what is no text.
    #[error("the command wrote no UTF-8")]
    NotText,
}

impl CommandError {
    /// Returns what is told of it: in short, and the details.
    pub(super) fn told(&self) -> (String, String) {
        let details = match self {
            Self::Failed { complaint, .. } => complaint.clone(),
            Self::Start(source) | Self::Pipe(source) => source.to_string(),
            _ => String::new(),
        };
        (self.to_string(), details)
    }
}

/// A process and all that it starts; killed when this is dropped.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // There may be nobody left to kill.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Runs a command, which finds `input` at its standard input.
pub(super) async fn run(
    command: &[String],
    input: String,
    most: Duration,
) -> Result<String, CommandError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(CommandError::Start(io::ErrorKind::InvalidInput.into()));
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(CommandError::Start)?;
    let id = child.id().and_then(|it| i32::try_from(it).ok()).and_then(Pid::from_raw);
    let group = Group { child, id };
    timeout(most, talk(group, input)).await.unwrap_or(Err(CommandError::Late(most)))
}

async fn talk(mut group: Group, input: String) -> Result<String, CommandError> {
    let missing = || CommandError::Pipe(io::ErrorKind::NotFound.into());
    let mut stdin = group.child.stdin.take().ok_or_else(missing)?;
    let stdout = group.child.stdout.take().ok_or_else(missing)?;
    let stderr = group.child.stderr.take().ok_or_else(missing)?;
    let write = async move {
        // A command that does not read its input is no fault.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin.shutdown().await);
    };
    let ((), output, complaint) =
        tokio::join!(write, read(stdout, MAX_OUTPUT), read(stderr, MAX_COMPLAINT));
    let status = group.child.wait().await.map_err(CommandError::Pipe)?;
    let (complaint, _) = complaint.map_err(CommandError::Pipe)?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        return Err(CommandError::Failed { status, complaint });
    }
    match output.map_err(CommandError::Pipe)? {
        (_, true) => Err(CommandError::TooMuch),
        (output, false) => String::from_utf8(output).map_err(|_| CommandError::NotText),
    }
}

/// Reads to the end and keeps the beginning; returns whether there was more.
async fn read(from: impl AsyncRead + Unpin, most: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    let mut from = from.take(most);
    from.read_to_end(&mut kept).await?;
    let more = tokio::io::copy(&mut from.into_inner(), &mut tokio::io::sink()).await?;
    Ok((kept, more > 0))
}
