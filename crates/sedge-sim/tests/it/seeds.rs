//! Two hundred seeds for each change, and every one that failed before.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sedge_sim::Report;

/// Seeds that failed before; see the file.
const KEPT: &str = include_str!("../../seeds.txt");
/// How many seeds a change is played under, besides those that were kept.
const SEEDS: u64 = 200;
/// How many of them are played a second time, to see that the story is the same.
const TWICE: u64 = 8;
/// The variable that names a first seed of one's own: `SEDGE_SIM_FROM=12345`. The seeds from there
/// on are played besides the others, so that a nightly run sees new ones.
const FROM: &str = "SEDGE_SIM_FROM";
/// How many fresh seeds are played from there on.
const FRESH: u64 = 50;

/// A folder in memory where there is one: what is synced there costs nothing.
pub(crate) fn homes() -> tempfile::TempDir {
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
    let played = runtime.block_on(sedge_sim::run(seed, homes.path()));
    played.unwrap_or_else(|error| panic!("seed {seed} does not begin: {error:?}"))
}

fn kept() -> BTreeSet<u64> {
    let lines = KEPT.lines().filter(|it| !it.starts_with('#') && !it.trim().is_empty());
    let number = |line: &str| line.split(' ').next().and_then(|it| it.parse().ok());
    lines.map(|it| number(it).unwrap_or_else(|| panic!("no seed: {it}"))).collect()
}

/// Plays seeds on every processor and returns their reports, in the order of the seeds.
fn play_all(seeds: &[u64]) -> Vec<Report> {
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let report = play(*seed);
                    reports.lock().expect("the list").push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().expect("the list");
    reports.sort_by_key(|it| it.seed);
    reports
}

/// Prints every failing seed, and how to play it again.
#[track_caller]
fn none_fails(reports: &[Report]) {
    let mut failed = String::new();
    for Report { seed, broken, .. } in reports.iter().filter(|it| !it.broken.is_empty()) {
        writeln!(failed, "seed {seed}: {}", broken.join("; ")).expect("text");
        writeln!(failed, "  cargo run -p sedge-sim --example replay -- {seed}").expect("text");
        writeln!(failed, "  keep it in crates/sedge-sim/seeds.txt").expect("text");
    }
    assert!(failed.is_empty(), "\n{failed}");
}

#[expect(clippy::disallowed_methods, reason = "a test takes its fresh seeds from the environment")]
fn own() -> Option<u64> {
    std::env::var(FROM).ok().map(|it| it.parse().expect("a number"))
}

#[test]
fn row_275_no_seed_of_two_hundred_fails_and_kept_ones_are_played_again() {
    let mut seeds: BTreeSet<u64> = (1..=SEEDS).collect();
    seeds.extend(kept());
    if let Some(own) = own() {
        println!("{FRESH} fresh seeds from {own} on");
        seeds.extend(own..own + FRESH);
    }
    let reports = play_all(&seeds.into_iter().collect::<Vec<_>>());
    none_fails(&reports);

    // Nothing would fail either if nothing happened.
    let asked: usize = reports.iter().map(|it| it.tasks.0).sum();
    let done: usize = reports.iter().map(|it| it.tasks.1).sum();
    assert!(asked > 2000 && done > asked / 3 && done < asked, "{done} of {asked} tasks");
    for word in [
        "Crash(",
        "Cut(",
        "Full(",
        "Clock(",
        "Slow(",
        "Weather(",
        ": fence ",
        ": number ",
        " revoked",
        " turns ",
    ] {
        let told = reports.iter().filter(|it| it.story.iter().any(|line| line.contains(word)));
        assert!(told.count() > 5, "{word} happens");
    }
}

#[test]
fn a_failing_seed_is_printed_with_the_way_to_play_it_again() {
    let broken = vec!["n1 lost new0".to_owned()];
    let report = Report { seed: 42, story: Vec::new(), broken, trace: 0, tasks: (0, 0) };
    let printed = std::panic::catch_unwind(|| none_fails(&[report])).expect_err("it fails");
    let printed = printed.downcast::<String>().expect("text");
    assert!(printed.contains("seed 42: n1 lost new0"), "{printed}");
    assert!(printed.contains("--example replay -- 42"), "{printed}");
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    let seeds: Vec<u64> = (1..=TWICE).collect();
    let (first, second) = (play_all(&seeds), play_all(&seeds));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second, "seed {}", first.seed);
    }
    let stories: BTreeSet<u64> = first.iter().map(|it| it.trace).collect();
    assert_eq!(stories.len(), seeds.len(), "and another seed another one");
}
