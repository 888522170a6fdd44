//! A node in a process of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use sedge_base::ErrorKind;
use serde_json::Value;

use crate::api::Api;
use crate::failed::Failed;

/// A node that this program started.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process.
    pub(crate) child: Child,
    /// The way to it.
    pub(crate) api: Api,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Started {
    /// Returns where other machines find the node's doors, if they do.
    pub(crate) fn doors(&self) -> Option<SocketAddr> {
        self.ready["doors"].as_str().and_then(|it| it.parse().ok())
    }
}

/// Starts a node with `sedge up` and waits until it says that it is ready, `within` long at most.
///
/// What it notes goes to `run/node.log` in its home.
pub(crate) fn start(
    home: &Path,
    arguments: &[String],
    within: Duration,
) -> Result<Started, Failed> {
    let program = std::env::current_exe()
        .map_err(|err| Failed::io("this program's own file is not known", &err))?;
    let log = log_path(home)?;
    let file = File::create(&log).map_err(|err| Failed::io(&log.display().to_string(), &err))?;
    let mut child = Command::new(program)
        .args(["up", "--json", "--detached", "--home"])
        .arg(home)
        // The folder says which swarm it is.
        .env_remove("SEDGE_SWARM")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .map_err(|err| Failed::io("the node's process does not start", &err))?;
    match first_words(child.stdout.take(), within) {
        Ok(ready) if ready["ready"] == true => {
            Ok(Started { child, api: Api::of_home(home)?, ready })
        }
        Ok(said) => {
            drop(child.wait());
            Err(failed(&said, &log))
        }
        Err(failed) => {
            drop(child.kill());
            drop(child.wait());
            Err(failed.hint(format!("its log is {}", log.display())))
        }
    }
}

/// Returns the first line that a node writes, or `Null` when it ends without one.
fn first_words(stdout: Option<ChildStdout>, within: Duration) -> Result<Value, Failed> {
    let (sender, receiver) = mpsc::sync_channel(1);
    if let Some(stdout) = stdout {
        thread::spawn(move || {
            let mut line = String::new();
            // A pipe that breaks is an end without a word.
            drop(BufReader::new(stdout).read_line(&mut line));
            drop(sender.send(line));
        });
    }
    match receiver.recv_timeout(within) {
        Ok(line) => Ok(serde_json::from_str(&line).unwrap_or(Value::Null)),
        Err(RecvTimeoutError::Disconnected) => Ok(Value::Null),
        Err(RecvTimeoutError::Timeout) => {
            let message = format!("the node was not ready within {} s", within.as_secs());
            Err(Failed::new(ErrorKind::Timeout, message))
        }
    }
}

/// Turns what a node said instead of "ready" into this program's own failure.
fn failed(said: &Value, log: &Path) -> Failed {
    let error = &said["error"];
    let kind = error["kind"].as_str().and_then(ErrorKind::from_name);
    match (kind, error["message"].as_str()) {
        (Some(kind), Some(message)) => {
            Failed::new(kind, message).maybe_hint(error["hint"].as_str())
        }
        _ => Failed::new(ErrorKind::Internal, "the node stopped without a word")
            .hint(format!("its log is {}", log.display())),
    }
}

/// Makes the folder for the log, open to its owner alone.
fn log_path(home: &Path) -> Result<PathBuf, Failed> {
    let folder = home.join("run");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|err| {
        Failed::io(&format!("cannot create {}", folder.display()), &err)
            .hint("choose a folder that you may write with `--home DIR`")
    })?;
    Ok(folder.join("node.log"))
}
