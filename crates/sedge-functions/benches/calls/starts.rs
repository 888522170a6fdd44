//! From nothing to the first answer: a fresh instance for each call, ours beside the bare engine.

use bytes::Bytes;
use sedge_base::{NodeId, Timestamp};
use sedge_capability::http::write_request;
use sedge_capability::{Budgets, Capability, Media, Task};
use sedge_functions::{Function, bench};
use tokio::time::Instant;
use wasmtime::{Engine as Bare, Instance, Module, Store};

use crate::{Done, Engine, guest, processor_time, program, python};

/// A module that adds two numbers, `add`: what an instance costs without the component model.
const ADD: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\
    \x03\x02\x01\x00\
    \x07\x07\x01\x03add\x00\x00\
    \x0a\x09\x01\x07\x00\x20\x00\x20\x01\x6a\x0b";

/// Prints a line for each guest.
pub(crate) async fn print(rounds: u32) -> Done {
    let engine = Engine::start(1000)?;
    println!("instance, first call, drop; {rounds} rounds (a hundredth for interpreters), us");
    println!("guest                   ours p50     p99   bare p50     p99   ours");
    core(rounds)?;
    let few = rounds.div_ceil(100).max(20);
    let echo = [b"echo ".to_vec(), vec![b'x'; 64 << 10]].concat();
    let mut guests = vec![
        ("C, 1 KiB", guest("upper")?, Bytes::from_static(b"abc"), rounds),
        ("Rust, 13 KiB", guest("probe")?, Bytes::from_static(b"echo abc"), rounds),
        ("Rust, 64 KiB in and out", guest("probe")?, echo.into(), rounds),
        ("JavaScript, print(1+1)", guest("javascript")?, program("console.log(1+1)"), few),
    ];
    match python() {
        Some(wasm) => guests.push(("Python, print(1+1)", wasm, program("print(1+1)"), few)),
        None => println!("Python: not measured, `functions/snapshots.sh` has not built it"),
    }
    for (what, wasm, input, rounds) in guests {
        let function = engine.deploy("guest", wasm).await?;
        let it = bench::calls(&function, input, rounds).await?;
        println!(
            "{what:<24}{:>8.1} {:>7.1} {:>10.1} {:>7.1} {:>5.1} %",
            it.call_p50_us, it.call_p99_us, it.bare_p50_us, it.bare_p99_us, it.ours_percent
        );
    }
    http(&engine, rounds).await
}

/// A core module on the bare engine, for comparison.
fn core(rounds: u32) -> Done {
    let engine = Bare::default();
    let module = Module::new(&engine, ADD)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
        let sum = add.call(&mut store, (1, 2))?;
        drop(store);
        times.push(began.elapsed());
        if sum != 3 {
            return Err("the core module cannot add".into());
        }
    }
    times.sort_unstable();
    let us = |at: usize| times.get(at).map_or(0.0, |it| it.as_secs_f64() * 1e6);
    let (p50, p99) = (us(times.len() / 2), us(times.len() * 99 / 100));
    println!("{:<24}{:>8} {:>7} {p50:>10.1} {p99:>7.1}", "core module, on demand", "", "");
    Ok(())
}

/// A whole HTTP call without a socket: the request's bytes in, the response's bytes out.
async fn http(engine: &Engine, rounds: u32) -> Done {
    let web = engine.deploy("web", guest("web")?).await?;
    let request =
        hyper::Request::post("http://function.local/").body(Bytes::from_static(b"abc"))?;
    let message = write_request(&request);
    let mut times = Vec::new();
    let before = processor_time()?;
    for round in 0..rounds {
        let began = Instant::now();
        let outcome = web.run(task(&web, message.clone(), round)?).await?;
        let (_, end) = outcome.collect().await;
        times.push(began.elapsed());
        if let Some(failure) = end.failure {
            return Err(failure.into());
        }
    }
    let spent = processor_time()?.saturating_sub(before);
    times.sort_unstable();
    let us = |at: usize| times.get(at).map_or(0.0, |it| it.as_secs_f64() * 1e6);
    println!(
        "{:<24}{:>8.1} {:>7.1}   processor {:.1} us each",
        "Rust, wasi:http",
        us(times.len() / 2),
        us(times.len() * 99 / 100),
        spent.as_secs_f64() * 1e6 / f64::from(rounds)
    );
    Ok(())
}

fn task(function: &Function, input: Bytes, round: u32) -> Result<Task, Box<dyn std::error::Error>> {
    Ok(Task {
        id: format!("bench-{round}").parse()?,
        capability: function.descriptor().name.clone(),
        input,
        media: Media::Http,
        budgets: Budgets::default(),
        deadline: Timestamp::from_millis(u64::MAX),
        priority: Task::USUAL_PRIORITY,
        requester: NodeId::from_bytes([0; 32]),
    })
}
