//! Calls that go well: values, surroundings, counts, and many of them.

use std::time::Duration;

use bytes::Bytes;
use sedge_base::ErrorKind;
use sedge_capability::conformance::{self, Sample};
use sedge_capability::{Budgets, Capability};
use sedge_functions::{FunctionsSection, Summary, bench};
use tokio::time::Instant;

use crate::{Bench, answer, call, deployment, task};

#[tokio::test]
async fn guests_of_two_languages_answer() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    assert_eq!(answer(&probe, "upper grüße").await, "GRÜSSE");
    assert_eq!(answer(&probe, "echo ").await, "");
    let upper = bench.deploy("upper").await;
    assert_eq!(answer(&upper, "abc, Äö").await, "ABC, Äö");
    let million = vec![b'a'; 1 << 20];
    let (output, end) = call(&upper, million).await;
    assert!(output.len() == 1 << 20 && output.iter().all(|it| *it == b'A'));
    assert_eq!(end.usage.output_bytes, 1 << 20);
}

#[tokio::test]
async fn functions_keep_the_contract() {
    let bench = Bench::new();
    let good = |text: &'static str| Sample { good: Bytes::from_static(text.as_bytes()), bad: None };
    conformance::check(bench.deploy("probe").await, good("echo abc")).await.unwrap();
    conformance::check(bench.deploy("upper").await, good("abc")).await.unwrap();
    conformance::check(bench.deploy("environ").await, good("args")).await.unwrap();
    conformance::check(bench.deploy("web").await, good("abc")).await.unwrap();
}

#[tokio::test]
async fn row_069_a_guest_reads_its_environment_and_arguments() {
    let bench = Bench::new();
    let mut wanted = deployment("environ");
    wanted.env.insert("A".to_owned(), "1".to_owned());
    wanted.args = vec!["one".to_owned(), "two".to_owned()];
    let environ = bench.runtime.deploy(wanted).await.unwrap();
    assert_eq!(answer(&environ, "env A").await, "1");
    assert_eq!(answer(&environ, "args").await, "one two");
    // Nothing of the node's own environment is seen.
    assert_eq!(answer(&environ, "env PATH").await, "function_error: `PATH` is not set");
}

#[tokio::test]
async fn row_070_the_first_call_is_cold_and_the_second_is_not() {
    let bench = Bench::new();
    let upper = bench.deploy("upper").await;
    let one = serde_json::to_value(upper.stats()).unwrap();
    assert_eq!(one, serde_json::json!({ "calls": 0 }));
    assert_eq!(call(&upper, "a").await.1.usage.cold, Some(true));
    assert_eq!(call(&upper, "b").await.1.usage.cold, Some(false));
    let stats = serde_json::to_value(upper.stats()).unwrap();
    let mut keys: Vec<_> = stats.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["avg_latency_ms", "calls", "cold_starts", "errors", "successes"]);
    assert_eq!((&stats["calls"], &stats["cold_starts"]), (&2.into(), &1.into()));

    // A failure before the first success is cold, and so is what comes after it.
    let probe = bench.deploy("probe").await;
    assert_eq!(call(&probe, "fail").await.1.usage.cold, Some(true));
    assert_eq!(call(&probe, "echo a").await.1.usage.cold, Some(true));
    assert_eq!(call(&probe, "fail").await.1.usage.cold, Some(false));

    let warmed = bench.deploy("probe").await;
    assert!(!warmed.is_warm());
    warmed.warm_up().await;
    assert_eq!(call(&warmed, "echo a").await.1.usage.cold, Some(false));
    assert_eq!(warmed.stats().calls, 1);

    let functions = [&*upper, &*probe, &*warmed];
    let summary = serde_json::to_value(Summary::of("n-1", functions)).unwrap();
    let expected = serde_json::json!({
        "node_id": "n-1",
        "functions_deployed": 3,
        "total_invocations": 4,
        "cold_starts": 3,
        "warm_functions": 3,
    });
    assert_eq!(summary, expected);
}

#[tokio::test]
async fn row_072_a_thousand_instantiations_of_a_warm_module() {
    let bench = Bench::new();
    let upper = bench.deploy("upper").await;
    upper.warm_up().await;
    let mut times = Vec::new();
    for _ in 0..1000 {
        let started = Instant::now();
        let (output, end) = call(&upper, "abc").await;
        times.push(started.elapsed());
        assert_eq!((output.as_slice(), end.usage.cold), (&b"ABC"[..], Some(false)));
    }
    times.sort_unstable();
    println!("1,000 instances, each called once: median {:?}", times[500]);
    assert_eq!(upper.stats().successes, Some(1000));
}

#[tokio::test]
async fn row_078_ten_calls_of_which_two_fail_are_counted_by_themselves() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    for round in 0..10 {
        call(&probe, if round % 5 == 4 { "fail" } else { "echo a" }).await;
    }
    let metrics = probe.metrics();
    assert_eq!((metrics.calls, metrics.errors), (10, 2));
    assert_eq!(metrics.success_percent, 80.0);
    assert!(metrics.p50_ms > 0.0 && metrics.p50_ms <= metrics.p95_ms);
}

/// The resident memory of this process, in KiB, as Linux tells it.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Other tests of this process come and go meanwhile: the printed figure is a bound by order of
/// magnitude; `cargo bench -p sedge-functions` takes the exact one.
#[tokio::test]
async fn row_073_a_thousand_live_instances_all_answer_and_the_memory_of_each_is_told() {
    // One place more than live instances: the node's own way has room beside them.
    let bench = Bench::with(FunctionsSection { pool: 1001, ..FunctionsSection::default() });
    for (guest, input) in [("upper", "abc"), ("probe", "echo abc")] {
        let function = bench.deploy(guest).await;
        let before = resident_kib();
        // Each has answered and is still there when the last one answers.
        let live = bench::live(&function, input.into(), 1000).await.unwrap();
        let each = resident_kib().saturating_sub(before) as f64 / 1000.0;
        assert_eq!(live.len(), 1000);
        println!("{guest}: 1,000 live instances, {each:.1} KiB each");
        assert!(each < 1024.0, "{each} KiB each");
        assert_eq!(answer(&function, input).await.to_lowercase(), "abc");
    }
}

#[tokio::test]
async fn live_instances_are_as_many_as_were_asked_for() {
    let bench = Bench::with(FunctionsSection { pool: 100, ..FunctionsSection::default() });
    let upper = bench.deploy("upper").await;
    let live = bench::live(&upper, "abc".into(), 100).await.unwrap();
    assert_eq!(live.len(), 100);
    drop(live);
    let figures = bench::calls(&upper, "abc".into(), 20).await.unwrap();
    assert_eq!(figures.rounds, 20);
    assert!(figures.bare_p50_us > 0.0);
}

#[tokio::test]
async fn a_full_house_makes_wait_and_then_refuses() {
    let section = FunctionsSection {
        pool: 4,
        max_concurrent: 1,
        max_waiting: 1,
        ..FunctionsSection::default()
    };
    let bench = Bench::with(section);
    let probe = bench.deploy("probe").await;
    let running = probe.run(task(&probe, "loop", Budgets::default())).await.unwrap();
    let short = Budgets { time_ms: Some(100), ..Budgets::default() };
    let waiting = probe.run(task(&probe, "echo a", short)).await.unwrap();
    let refused = probe.run(task(&probe, "echo b", Budgets::default())).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_ref()), (ErrorKind::Unavailable, "busy"));
    let (_, end) = waiting.collect().await;
    assert_eq!(end.failure.map(|it| it.kind), Some(ErrorKind::Timeout));
    drop(running);
    bench.scope.shutdown(Duration::from_secs(10)).await.unwrap();
}
