//! The process inside that has given up everything: it runs the steps.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getppid, kill_process_group, setpgid, wait};
use wait4::{ResUse, Wait4};

use crate::keeper::{read_line, say, stdin_socket};
use crate::plan::{Ended, Room, SetupError, Step, WORK, Word};
use crate::{filter, memory, rights};

/// Runs the steps of a sandbox until the last has ended.
///
/// # Errors
///
/// When init is gone: nobody is left to be told anything.
pub(crate) fn steps() -> io::Result<()> {
    let init = stdin_socket()?;
    let line = read_line(&init)?;
    let done = match serde_json::from_str::<Room>(&line) {
        Ok(room) => run(&init, &room),
        Err(error) => Err(SetupError::Plan { reason: error.to_string() }),
    };
    say(&init, &Word::Done(done))
}

fn run(init: &UnixStream, room: &Room) -> Result<Ended, SetupError> {
    // Everything below takes this for granted, above all the killing.
    if getppid() != Some(Pid::INIT) || !Path::new(WORK).is_dir() {
        return Err(SetupError::layer("process namespace", "this process is not of its first"));
    }
    rights::give_up()?;
    rights::fence()?;
    filter::apply()?;
    // Away from what a terminal sends to the node; it stays in the node's session, beside which it would
    // get a share of the processor as large as the node's.
    let _ = setpgid(None, None);
    put_files(room)?;
    let mut ended = Ended::Exited { step: 0, code: 0 };
    for (number, step) in room.steps.iter().enumerate() {
        rights::limit(step, &room.limits)?;
        let last = number + 1 == room.steps.len();
        let stdin = if last { stdin_of(&room.stdin)? } else { Stdio::null() };
        let told = |word: &Word| say(init, word).map_err(|it| SetupError::layer("init", it));
        told(&Word::Starts { step: number })?;
        let begins = || told(&Word::Begins { step: number });
        let (status, peak) = run_step(room, step, stdin, begins)?;
        say(init, &Word::Used { peak }).map_err(|it| SetupError::layer("init", it))?;
        ended = match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited { step: number, code },
            (None, Some(signal)) => Ended::Signalled { step: number, signal },
            (None, None) => return Err(SetupError::layer("init", "a step ended in no known way")),
        };
        if ended != (Ended::Exited { step: number, code: 0 }) {
            break;
        }
    }
    Ok(ended)
}

/// Writes the plan's files, with the rights of the programs that will read them.
fn put_files(room: &Room) -> Result<(), SetupError> {
    std::env::set_current_dir(WORK).map_err(|it| SetupError::path(WORK, it))?;
    for file in &room.files {
        let path = Path::new(WORK).join(&file.name);
        if Path::new(&file.name).components().count() != 1 || path.parent() != Some(WORK.as_ref()) {
            return Err(SetupError::path(path, "a file's name has one part"));
        }
        // In a session, an earlier run may have left anything under that name.
        drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
        fs::write(&path, &file.text).map_err(|it| SetupError::path(&path, it))?;
    }
    Ok(())
}

/// Makes a file in memory without a name that holds what a program reads.
fn stdin_of(text: &str) -> Result<Stdio, SetupError> {
    let path = Path::new("/tmp/.stdin");
    let opened = fs::write(path, text).and_then(|()| File::open(path));
    let file = opened.map_err(|it| SetupError::path(path, it))?;
    fs::remove_file(path).map_err(|it| SetupError::path(path, it))?;
    Ok(Stdio::from(OwnedFd::from(file)))
}

/// Runs one step to its end, and ends what it left behind; returns the most memory that it had.
fn run_step(
    room: &Room,
    step: &Step,
    stdin: Stdio,
    begins: impl FnOnce() -> Result<(), SetupError>,
) -> Result<(ExitStatus, u64), SetupError> {
    let Some((program, arguments)) = step.argv.split_first() else {
        return Err(SetupError::Plan { reason: "a step has a program".to_owned() });
    };
    let env = room.env.iter().map(|(name, value)| (name, value));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir(WORK)
        .stdin(stdin)
        .spawn()
        .map_err(|err| SetupError::Program { program: program.clone(), reason: err.to_string() })?;
    // From now on it is the program, and no part of this one any more.
    begins()?;
    let failed = |err: &dyn std::fmt::Display| SetupError::layer("init", err);
    let ResUse { status, rusage } = child.wait4().map_err(|it| failed(&it))?;
    // Everybody in the namespace but init and this process; nobody left is fine.
    let _ = kill_process_group(Pid::INIT, Signal::KILL);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => break,
            Err(errno) => return Err(failed(&errno)),
        }
    }
    // Until it was the program, the process was this one, and the kernel counts that as well.
    let own = memory::own_peak();
    Ok((status, if rusage.maxrss > own { rusage.maxrss } else { 0 }))
}
