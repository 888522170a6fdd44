//! Prints the cost of warm calls beside the bare engine, and the memory of a thousand live instances.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::error::Error;
use std::fs;

use bytes::Bytes;
use sedge_base::TaskScope;
use sedge_functions::{Deployment, FunctionsConfig, FunctionsSection, Runtime, bench};

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let scope = TaskScope::new();
    let config = FunctionsConfig::try_from(FunctionsSection::default())?;
    let runtime = Runtime::new(config, folder.path(), &scope)?;
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions");
    println!("what              call p50/p99 us    bare p50/p99 us    ours");
    for (guest, input) in [
        ("upper", Bytes::from_static(b"abc")),
        ("probe", Bytes::from_static(b"echo abc")),
        ("probe", [b"echo ".to_vec(), vec![b'x'; 64 << 10]].concat().into()),
    ] {
        let wasm = fs::read(format!("{guests}/{guest}.wasm"))?;
        let function = runtime.deploy(Deployment::new(guest.parse()?, wasm.into())).await?;
        let length = input.len();
        let figures = bench::calls(&function, input, 5000).await?;
        println!(
            "{guest} {length:>6} B    {:>7.1} {:>8.1}   {:>7.1} {:>8.1}   {:>5.1} %",
            figures.call_p50_us,
            figures.call_p99_us,
            figures.bare_p50_us,
            figures.bare_p99_us,
            figures.ours_percent
        );
    }
    for guest in ["upper", "probe"] {
        let wasm = fs::read(format!("{guests}/{guest}.wasm"))?;
        let function = runtime.deploy(Deployment::new(guest.parse()?, wasm.into())).await?;
        let before = resident_kib()?;
        let live = bench::live(&function, Bytes::from_static(b"echo abc"), 1000).await?;
        let after = resident_kib()?;
        println!(
            "{guest}: {} live instances, {:.1} KiB each",
            live.len(),
            after.saturating_sub(before) as f64 / live.len() as f64
        );
    }
    Ok(())
}

/// Returns the resident memory of this process in KiB, as Linux tells it.
fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
