//! Figures of a swarm: really joined over Unix sockets and QUIC, and simulated in virtual time.
//!
//! `cargo bench -p sedge-net --bench swarm` prints all of it; `-- --joined 1000`, `-- --quic 100` or
//! `-- --simulated 10000` one size of one kind, `-- --peers 100` the memory of QUIC connections.
//! Members that have really joined share this process and its processors; more than 200 have the times
//! of [`Times::wan`] therefore. Simulated ones have each a processor of its own.

mod fleet;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use sedge_net::{Simulation, Times, simulate};
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn simulated(members: u32) -> Result<(), Failure> {
    let began = Instant::now();
    let simulation = Simulation {
        members,
        seed: 1,
        times: Times::lan(),
        delay: (Duration::from_millis(1), Duration::from_millis(20)),
        loss: 0.0,
        repeats: 0.0,
        slow: 0.0,
        lateness: Duration::ZERO,
        // Ten thousand joins at once are a hundred million entries of tables to tell.
        joined: members > 2000,
    };
    let shown = simulate(&simulation);
    let out = &mut std::io::stdout();
    writeln!(out, "{members} simulated members, virtual time (took {:?}):", began.elapsed())?;
    match shown.converged.filter(|_| !simulation.joined) {
        Some(time) => writeln!(
            out,
            "  every one knew every other one after {time:?}, {:.0} KB sent by each",
            shown.join_bytes / 1000.0
        )?,
        None => writeln!(out, "  begun as joined")?,
    }
    writeln!(
        out,
        "  at rest each sends {:.1} B/s in {:.2} messages/s and has {:.1} neighbours",
        shown.rest_bytes, shown.rest_messages, shown.neighbours
    )?;
    writeln!(
        out,
        "  a broadcast of 256 B reached {} {}, {} hops",
        shown.reached,
        shown.broadcast.map_or_else(|| "of them".to_owned(), |it| format!("in {it:?}")),
        shown.hops
    )?;
    writeln!(
        out,
        "  a death was suspected by the first and last {}, certain {}; {} wrongly down",
        after(shown.suspected),
        after(shown.down),
        shown.wrongly_down
    )?;
    match shown.newcomer {
        Some((known, knows)) => writeln!(
            out,
            "  a newcomer was known to all after {known:?}, and knew all after {knows:?}"
        )?,
        None => writeln!(out, "  a newcomer was not known to all")?,
    }
    Ok(())
}

/// Says when the first and the last member saw something.
fn after(span: Option<(Duration, Duration)>) -> String {
    span.map_or_else(|| "never".to_owned(), |(first, last)| format!("after {first:?} and {last:?}"))
}

fn run() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = args.iter().position(|it| it == name)?;
        args.get(at + 1)?.parse::<u32>().ok()
    };
    fleet::allow_descriptors()?;
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(id) = value(fleet::VICTIM) {
        let dir = args.last().ok_or("a victim needs a folder")?;
        return threads.block_on(fleet::victim(id, dir.as_ref()));
    }
    let only = ["--joined", "--quic", "--peers", "--simulated"].map(value);
    match only {
        [Some(members), ..] => threads.block_on(fleet::joined(members)),
        [_, Some(members), ..] => threads.block_on(fleet::over_quic(members)),
        [_, _, Some(peers), _] => threads.block_on(fleet::peers(peers)),
        [_, _, _, Some(members)] => simulated(members),
        [None, None, None, None] => {
            for members in [10, 100, 1000] {
                threads.block_on(fleet::joined(members))?;
            }
            threads.block_on(fleet::over_quic(100))?;
            threads.block_on(fleet::peers(100))?;
            for members in [10, 100, 1000, 10_000] {
                simulated(members)?;
            }
            Ok(())
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            drop(writeln!(std::io::stderr(), "{err}"));
            ExitCode::FAILURE
        }
    }
}
