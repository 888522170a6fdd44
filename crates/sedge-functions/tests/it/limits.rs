//! Guests that misbehave end as they should, and the runtime still serves.

use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind};
use sedge_capability::{Budgets, Capability};
use sedge_trust::receipt::Status;
use tokio::time::Instant;

use crate::{Bench, answer, call, call_within, still_serves, task};

#[tokio::test]
async fn an_endless_loop_ends_by_its_time() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    let second = Budgets { time_ms: Some(1000), ..Budgets::default() };
    let (_, end) = call_within(&probe, "loop", second).await;
    assert_eq!(end.status, Status::Timeout);
    assert_eq!(end.failure.unwrap().kind, ErrorKind::Timeout);
    // The engine's own clock says when it ended: within 1.1 s, unless the machine is overloaded.
    println!("the loop ended after {} us", end.usage.took_us);
    assert!(end.usage.took_us >= 1_000_000);
    still_serves(&probe).await;
}

#[tokio::test]
async fn an_endless_loop_holds_nobody_up() {
    // One thread for the loop, for the others and for this test.
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    let started = Instant::now();
    let endless = probe.run(task(&probe, "loop", Budgets::default())).await.unwrap();
    for _ in 0..10 {
        still_serves(&probe).await;
    }
    assert!(started.elapsed() < Duration::from_secs(30), "the loop ended by itself");
    drop(endless);
    bench.scope.shutdown(Duration::from_secs(10)).await.unwrap();
    assert_eq!(probe.metrics().errors, 1, "the broken-off task is counted");
}

#[tokio::test]
async fn a_stopping_scope_ends_long_tasks_as_cancelled() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    let endless = probe.run(task(&probe, "loop", Budgets::default())).await.unwrap();
    bench.scope.shutdown(Duration::from_secs(10)).await.unwrap();
    let (_, end) = endless.collect().await;
    assert_eq!(end.status, Status::Cancelled);
}

#[tokio::test]
async fn row_067_too_much_memory_is_out_of_memory() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    let small = Budgets { memory: Some(ByteSize::from_mib(16)), ..Budgets::default() };
    let (_, end) = call_within(&probe, "allocate 64", small).await;
    assert_eq!(end.status, Status::OutOfMemory);
    assert_eq!(end.failure.unwrap().message, "the function needs more memory than its 16 MiB");
    let peak = end.usage.peak_memory.unwrap();
    assert!(peak > ByteSize::from_mib(8) && peak <= ByteSize::from_mib(16), "{peak}");
    still_serves(&probe).await;
    let (output, end) = call_within(&probe, "allocate 8", small).await;
    assert_eq!((output, end.status), (b"8388608".to_vec(), Status::Success));
}

#[tokio::test]
async fn row_068_a_long_loop_runs_out_of_fuel() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    let thousand = Budgets { fuel: Some(1000), ..Budgets::default() };
    let (_, end) = call_within(&probe, "spin 1000000", thousand).await;
    assert_eq!(end.status, Status::OutOfFuel);
    assert_eq!(end.failure.unwrap().message, "the function used up its fuel of 1000");
    assert_eq!(end.usage.fuel, Some(1000));
    still_serves(&probe).await;
}

#[tokio::test]
async fn the_same_task_takes_the_same_fuel() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    let fuel = async || call(&probe, "spin 1000").await.1.usage.fuel.unwrap();
    let first = fuel().await;
    assert!(first > 1000);
    assert_eq!(first, fuel().await);
}

#[tokio::test]
async fn every_way_to_break_off_is_told_and_survived() {
    let bench = Bench::new();
    let probe = bench.deploy("probe").await;
    let unreachable =
        "trap: the function broke off: wasm trap: wasm `unreachable` instruction executed";
    let cases = [
        ("trap", unreachable),
        ("panic", unreachable),
        ("recurse 100000000", "trap: the function broke off: wasm trap: call stack exhausted"),
        ("fail with these words", "function_error: with these words"),
        // 4 GiB at once; the engine sees it coming.
        ("grow 65535", "out_of_memory: the function needs more memory than its 128 MiB"),
        ("output 100000000", "output_too_large: the function gave more output than its 8 MiB"),
        // More than a 32-bit guest's own allocator can name.
        ("output 3000000000", unreachable),
    ];
    for (input, expected) in cases {
        assert_eq!(answer(&probe, input).await, expected, "{input}");
        still_serves(&probe).await;
    }
}

#[tokio::test]
async fn a_guest_that_loops_before_its_input_arrives_ends_too() {
    let bench = Bench::new();
    let stuck = bench.deploy("stuck").await;
    let short = Budgets { time_ms: Some(50), ..Budgets::default() };
    let (_, end) = call_within(&stuck, "abc", short).await;
    assert_eq!(end.status, Status::Timeout);
    let probe = bench.deploy("probe").await;
    still_serves(&probe).await;
}

#[tokio::test]
async fn a_guest_that_waits_ends_by_its_time() {
    let bench = Bench::new();
    let environ = bench.deploy("environ").await;
    assert_eq!(answer(&environ, "sleep 20").await, "slept");
    let short = Budgets { time_ms: Some(50), ..Budgets::default() };
    let (_, end) = call_within(&environ, "sleep 3600000", short).await;
    assert_eq!(end.status, Status::Timeout);
}

#[tokio::test]
async fn the_function_s_own_limits_hold_beside_the_caller_s() {
    let bench = Bench::new();
    let mut wanted = crate::deployment("probe");
    wanted.limits = Budgets {
        fuel: Some(5000),
        memory: Some(ByteSize::from_bytes(1)),
        output: Some(ByteSize::from_bytes(3)),
        ..Budgets::default()
    };
    let generous = Budgets { memory: Some(ByteSize::from_mib(64)), ..Budgets::default() };
    let tight = bench.runtime.deploy(wanted.clone()).await.unwrap();
    let (_, end) = call_within(&tight, "echo abc", generous).await;
    assert_eq!(end.status, Status::OutOfMemory, "too little to start at all");
    wanted.limits.memory = None;
    let tight = bench.runtime.deploy(wanted).await.unwrap();
    assert_eq!(answer(&tight, "echo abc").await, "abc");
    let words = answer(&tight, "echo abcd").await;
    assert_eq!(words, "output_too_large: the function gave more output than its 3 B");
}
