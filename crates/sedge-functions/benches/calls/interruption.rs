//! What it costs that a guest can be stopped: the same component compiled without fuel and epochs, with
//! one of them, and with both, as every function here is.

use tokio::time::Instant;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

use crate::{Done, guest};

/// What the guest does: an addition and a comparison, so often.
const WORK: &[u8] = b"spin 1000000";

/// Prints the median of each way.
pub(crate) fn print(rounds: u32) -> Done {
    let rounds = rounds.div_ceil(50).max(11);
    println!("a tight loop of a million turns in a Rust guest, median of {rounds}");
    let wasm = guest("probe")?;
    let mut free = None;
    for (what, fuel, epoch) in [
        ("neither", false, false),
        ("epochs alone", false, true),
        ("fuel alone", true, false),
        ("both, as functions run", true, true),
    ] {
        let median = median(&wasm, fuel, epoch, rounds)?;
        let base = *free.get_or_insert(median);
        println!("{what:<24}{median:>8.1} us  {:.2} times", median / base);
    }
    Ok(())
}

/// Returns the median time of a call, in microseconds.
fn median(wasm: &[u8], fuel: bool, epoch: bool, rounds: u32) -> wasmtime::Result<f64> {
    let mut settings = Config::new();
    settings.consume_fuel(fuel).epoch_interruption(epoch).concurrency_support(false);
    let engine = Engine::new(&settings)?;
    let component = Component::from_binary(&engine, wasm)?;
    let linker = Linker::<()>::new(&engine).instantiate_pre(&component)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let mut store = Store::new(&engine, ());
        if fuel {
            store.set_fuel(u64::MAX)?;
        }
        if epoch {
            store.set_epoch_deadline(1 << 32);
        }
        let instance = linker.instantiate(&mut store)?;
        let process = instance
            .get_typed_func::<(&[u8],), (Result<Box<[u8]>, String>,)>(&mut store, "process")?;
        let began = Instant::now();
        let (answer,) = process.call(&mut store, (WORK,))?;
        times.push(began.elapsed());
        answer.map_err(wasmtime::Error::msg)?;
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).map_or(0.0, |it| it.as_secs_f64() * 1e6))
}
