//! Two hundred seeds for each change, and those that failed before.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sedge_sim::Report;

/// A folder in memory where there is one: what is synced there costs nothing.
fn homes() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.expect("a folder for the machines")
}

fn play(seed: u64) -> Report {
    let homes = homes();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    match runtime.block_on(sedge_sim::run(seed, homes.path())) {
        Ok(report) => report,
        Err(error) => panic!("seed {seed} does not begin: {error:?}"),
    }
}

#[test]
fn explore() {
    let from: u64 =
        std::env::var("SEDGE_SIM_FROM").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    let count: u64 =
        std::env::var("SEDGE_SIM_COUNT").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    let verbose = std::env::var("SEDGE_SIM_STORY").is_ok();
    let next = AtomicU64::new(from);
    let failed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + count {
                        break;
                    }
                    let began = std::time::Instant::now();
                    let report = play(seed);
                    let again = if verbose { play(seed) } else { report.clone() };
                    println!(
                        "seed {seed}: {:?} trace {:x} {:?}",
                        report.tasks,
                        report.trace,
                        began.elapsed()
                    );
                    if report != again {
                        let at = report.story.iter().zip(&again.story).position(|(a, b)| a != b);
                        println!("  DIFFERS at {at:?} trace {:x}", again.trace);
                        if let Some(at) = at {
                            println!("   {} / {}", report.story[at], again.story[at]);
                        }
                    }
                    for line in &report.broken {
                        println!("  seed {seed} BROKEN {line}");
                    }
                    if verbose {
                        for line in &report.story {
                            println!("    {line}");
                        }
                    }
                    if !report.broken.is_empty() {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    println!("failed: {}", failed.load(Ordering::SeqCst));
}
