//! Instances that were called once and stay: memory of each, and where it ends.

use std::error::Error;
use std::fs;

use bytes::Bytes;
use sedge_functions::bench;

use crate::{Done, Engine, guest};

/// Prints a line for each guest.
pub(crate) async fn print(count: u32) -> Done {
    for (what, name) in [("C", "upper"), ("Rust", "probe")] {
        // An engine of its own for each: what the one before has touched would not count.
        let engine = Engine::start(count)?;
        let function = engine.deploy(name, guest(name)?).await?;
        let before = resident_kib()?;
        let live = bench::live(&function, Bytes::from_static(b"echo abc"), count).await?;
        let each = resident_kib()?.saturating_sub(before) as f64 / live.len() as f64;
        let maps = fs::read_to_string("/proc/self/maps")?.lines().count();
        println!(
            "{what}: {} live instances, {each:.1} KiB each, {:.0} MiB; {maps} memory maps of {}",
            live.len(),
            each * live.len() as f64 / 1024.0,
            fs::read_to_string("/proc/sys/vm/max_map_count")?.trim()
        );
        println!("  a node with this pool runs {} at once", engine.runtime.capacity());
    }
    Ok(())
}

/// Returns the resident memory of this process in KiB, as Linux tells it.
fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
