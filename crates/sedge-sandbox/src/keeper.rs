//! The process outside: it makes the namespaces, watches memory, and ends everything inside when
//! the caller says so, goes away, or the memory is used up.
//!
//! It has one thread: a process that is about to enter a process namespace may not have more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::time::Timespec;

use crate::plan::{Ended, Figures, Room, SetupError, Word};
use crate::stage::Stage;
use crate::{memory, rights};

/// How often memory is looked at: a short run is seen, a long one is not slowed down.
const TICK_AT_FIRST: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// How often after [`TICKS_AT_FIRST`].
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// How many short ticks a step has.
const TICKS_AT_FIRST: u32 = 200;
/// Ticks between two close looks at what several processes share.
const CLOSE_TICKS: u32 = 4;
/// Ticks between two looks at a session's folder.
const FOLDER_TICKS: u32 = 10;
/// Ticks between two looks at every process of the machine.
const ALL_TICKS: u32 = 50;
/// No program has less memory than this at its most, in bytes.
const LEAST_PEAK: u64 = 512 << 10;
/// The largest word from inside, in bytes.
const MOST_WORD: usize = 64 << 10;
/// The largest plan, in bytes.
const MOST_PLAN: u64 = 16 << 20;

/// Is the keeper of a sandbox until the sandbox has ended.
///
/// # Errors
///
/// When the caller is gone: nobody is left to be told anything.
pub(crate) fn keep(arguments: &[String]) -> io::Result<()> {
    // Whatever the node was started with stays with the node.
    close_fds::set_fds_cloexec(3, &[]);
    // When the machine has no memory left, this is where it went: inherited by everything inside.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
    let caller = stdin_socket()?;
    let line = read_line(&caller)?;
    let done = match serde_json::from_str::<Room>(&line) {
        Ok(room) => begin(&caller, arguments, &line, &room),
        Err(error) => Err(SetupError::Plan { reason: error.to_string() }),
    };
    say(&caller, &Word::Kept(done))
}

fn begin(
    caller: &UnixStream,
    arguments: &[String],
    line: &str,
    room: &Room,
) -> Result<Figures, SetupError> {
    let failed = |err: io::Error| SetupError::layer("init", err);
    rights::separate()?;
    let (mut mine, theirs) = UnixStream::pair().map_err(failed)?;
    let mut child = Command::new("/proc/self/exe")
        .args(arguments)
        .arg(Stage::INIT)
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .map_err(failed)?;
    let sent = mine.write_all(line.as_bytes()).and_then(|()| mine.write_all(b"\n"));
    let watched = match sent {
        Ok(()) => watch(caller, &mine, room, &mut child),
        Err(err) => Err(failed(err)),
    };
    // Killed or ended: init takes everything inside with it.
    drop(child.kill());
    drop(child.wait());
    watched
}

/// What is known of the step that runs.
#[derive(Default)]
struct Watch {
    /// Its number; `None` before the first.
    step: Option<usize>,
    limit: Option<sedge_base::ByteSize>,
    peak: u64,
    /// What the kernel kept for it beside that, at the last closer look.
    hidden: u64,
    ticks: u32,
    /// The process that runs the steps: the oldest inside but init, and no part of what is watched.
    steps: Option<u32>,
}

impl Watch {
    /// Looks at what the sandbox uses; returns its end when that is too much.
    fn look(&mut self, init: u32, room: &Room) -> Option<Ended> {
        let limit = self.limit?;
        self.ticks = self.ticks.wrapping_add(1);
        // Numbers of processes wrap around: now and then all are looked at.
        let all = self.ticks.is_multiple_of(ALL_TICKS);
        let mut processes = memory::descendants(init, all);
        let steps = *self.steps.get_or_insert(processes.iter().min().copied()?);
        processes.retain(|it| *it != steps);
        let seen = memory::of(&processes);
        self.peak = self.peak.max(seen.largest);
        if self.ticks.is_multiple_of(CLOSE_TICKS) {
            self.hidden = memory::hidden(&processes);
        }
        let over = seen.private + self.hidden > limit.as_bytes();
        // The closer look takes long: not at every tick, unless it decides.
        if over || (seen.private > self.peak && self.ticks.is_multiple_of(CLOSE_TICKS)) {
            let together = memory::shared_out(&processes);
            self.peak = self.peak.max(together);
            if together + self.hidden > limit.as_bytes() {
                return Some(Ended::OutOfMemory { limit });
            }
        }
        if let Some(folder) = &room.work
            && self.ticks.is_multiple_of(FOLDER_TICKS)
            && memory::of_folder(folder, room.limits.files.as_bytes())
                .is_none_or(|it| it + memory::unlinked(&processes) > room.limits.files.as_bytes())
        {
            return Some(Ended::OutOfRoom { limit: room.limits.files });
        }
        None
    }
}

/// Waits until the steps have ended, too much is used or the caller has enough.
fn watch(
    caller: &UnixStream,
    init: &UnixStream,
    room: &Room,
    child: &mut Child,
) -> Result<Figures, SetupError> {
    let failed = |reason: String| SetupError::layer("init", reason);
    let mut watch = Watch::default();
    let mut words = Vec::new();
    let figures = |ended, watch: &Watch| {
        // Less is what was seen before a program had begun: then nothing is known.
        let peak = if watch.peak < LEAST_PEAK { 0 } else { watch.peak };
        Figures { ended, peak }
    };
    loop {
        let mut ends = [PollFd::new(caller, PollFlags::IN), PollFd::new(init, PollFlags::IN)];
        let tick = if watch.ticks < TICKS_AT_FIRST { TICK_AT_FIRST } else { TICK };
        match poll(&mut ends, Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno.to_string())),
        }
        let [of_caller, of_init] = ends.map(|it| !it.revents().is_empty());
        if of_init {
            let mut piece = [0; 4096];
            let count = (&*init).read(&mut piece).map_err(|it| failed(it.to_string()))?;
            if count == 0 {
                // Whoever kills everybody inside kills the one who would have told.
                let killed = |step| Ended::Signalled { step, signal: Signal::KILL.as_raw() };
                let ended = watch.step.map(|step| figures(killed(step), &watch));
                return ended.ok_or_else(|| failed("it ended without a word".to_owned()));
            }
            words.extend_from_slice(&piece[..count]);
            if words.len() > MOST_WORD {
                return Err(failed("it talks too much".to_owned()));
            }
            while let Some(end) = words.iter().position(|it| *it == b'\n') {
                let word = serde_json::from_slice(&words[..end]);
                words.drain(..=end);
                match word.map_err(|it| failed(it.to_string()))? {
                    Word::Starts { step } => {
                        let limit = room.steps.get(step).map(|it| it.memory);
                        watch = Watch { step: Some(step), limit, ..Watch::default() };
                    }
                    // Until now it was a copy of the process that starts it.
                    Word::Begins { .. } => watch.peak = 0,
                    Word::Used { peak } => watch.peak = watch.peak.max(peak),
                    Word::Done(done) => return Ok(figures(done?, &watch)),
                    Word::Kept(_) => return Err(failed("it is a keeper".to_owned())),
                }
            }
        } else if of_caller {
            // It has said everything: this is the end of its patience, or its own.
            return Ok(figures(Ended::TimedOut, &watch));
        }
        if let Some(ended) = watch.look(child.id(), room) {
            return Ok(figures(ended, &watch));
        }
    }
}

/// Returns the socket that the standard input is.
///
/// # Errors
///
/// When it cannot be had twice.
pub(crate) fn stdin_socket() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Reads the one line that comes first.
///
/// # Errors
///
/// When there is none, or it is too long.
pub(crate) fn read_line(socket: &UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(socket.take(MOST_PLAN)).read_line(&mut line)?;
    if line.pop() == Some('\n') { Ok(line) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Writes one line.
///
/// # Errors
///
/// When nobody reads it.
pub(crate) fn say(mut socket: &UnixStream, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    socket.write_all(&line)
}
