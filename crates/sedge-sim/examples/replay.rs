//! Plays one seed of the simulation and prints its story:
//! `cargo run -p sedge-sim --example replay -- 42`.
//!
//! Two numbers play the seeds from the first to the second and print those that fail.

use std::error::Error;
use std::io::{self, Write};

use sedge_sim::Report;

fn main() -> Result<(), Box<dyn Error>> {
    let seeds = std::env::args().skip(1).map(|it| it.parse()).collect::<Result<Vec<u64>, _>>()?;
    let mut out = io::stdout().lock();
    match seeds[..] {
        [seed] => {
            let report = play(seed)?;
            for line in &report.story {
                writeln!(out, "{line}")?;
            }
            let (asked, done) = report.tasks;
            writeln!(
                out,
                "seed {seed}: {done} of {asked} tasks done, trace {:016x}",
                report.trace
            )?;
            print_broken(&mut out, &report)
        }
        [first, last] => {
            for seed in first..=last {
                print_broken(&mut out, &play(seed)?)?;
            }
            Ok(writeln!(out, "seeds {first} to {last} played")?)
        }
        _ => Ok(writeln!(out, "give one seed, or the first and the last of many")?),
    }
}

fn print_broken(out: &mut impl Write, report: &Report) -> Result<(), Box<dyn Error>> {
    for broken in &report.broken {
        writeln!(out, "seed {}: BROKEN: {broken}", report.seed)?;
    }
    Ok(())
}

fn play(seed: u64) -> Result<Report, Box<dyn Error>> {
    let homes = tempfile::tempdir()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(sedge_sim::run(seed, homes.path()))?)
}
