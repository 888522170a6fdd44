//! The first process inside: it builds the room, starts the process that runs the steps as a user
//! without rights, and buries what nobody waits for.
//!
//! As the first process of its namespace it cannot be ended from inside, and when it ends, the
//! kernel ends all others.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, getpid, wait};
use rustix::time::Timespec;

use crate::keeper::{read_line, say, stdin_socket};
use crate::plan::{Room, SetupError, Word};
use crate::rights::NOBODY;
use crate::stage::Stage;
use crate::{rights, root};

/// How often orphans are buried.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Is the init of a sandbox until its last step has ended.
///
/// # Errors
///
/// When the keeper is gone: nobody is left to be told anything.
pub(crate) fn init(arguments: &[String]) -> io::Result<()> {
    let keeper = stdin_socket()?;
    let line = read_line(&keeper)?;
    let begun = match serde_json::from_str::<Room>(&line) {
        Ok(room) => begin(&keeper, arguments, &line, &room),
        Err(error) => Err(SetupError::Plan { reason: error.to_string() }),
    };
    match begun {
        Ok(steps) => forward(&steps, &keeper),
        Err(error) => say(&keeper, &Word::Done(Err(error))),
    }
}

/// Builds the room and starts the process that runs the steps; returns the way to it.
fn begin(
    keeper: &UnixStream,
    arguments: &[String],
    line: &str,
    room: &Room,
) -> Result<UnixStream, SetupError> {
    if getpid() != Pid::INIT {
        return Err(SetupError::layer("process namespace", "this process is not its first"));
    }
    rights::end_with_parent(keeper.as_fd())?;
    rights::own_mounts()?;
    root::build(room)?;
    let failed = |err: io::Error| SetupError::layer("an unprivileged user", err);
    let (mut mine, theirs) = UnixStream::pair().map_err(failed)?;
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).arg(Stage::STEPS).env_clear().stdin(OwnedFd::from(theirs));
    if rights::is_machine_root()? {
        // This gives up the groups as well.
        command.uid(NOBODY).gid(NOBODY);
    }
    command.spawn().map_err(failed)?;
    mine.write_all(line.as_bytes()).and_then(|()| mine.write_all(b"\n")).map_err(failed)?;
    Ok(mine)
}

/// Hands on every word until there are no more, and buries orphans meanwhile.
fn forward(mut steps: &UnixStream, mut keeper: &UnixStream) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        let mut ends = [PollFd::new(&steps, PollFlags::IN)];
        poll(&mut ends, Some(&TICK)).or_else(|it| match it {
            rustix::io::Errno::INTR => Ok(0),
            errno => Err(errno),
        })?;
        let spoke = !ends[0].revents().is_empty();
        // Whoever it was: what matters is told over the socket.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if spoke {
            match steps.read(&mut piece)? {
                0 => return Ok(()),
                count => keeper.write_all(&piece[..count])?,
            }
        }
    }
}
