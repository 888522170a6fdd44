//! Prints what calls cost beside the bare engine, what being interruptible costs, what a whole HTTP call
//! takes, and the memory of live instances.
//!
//! Arguments: `--live N` measures `N` live instances of each guest in place of 1,000, with a pool of that
//! size; `--rounds N` sets how many calls of each sort are made.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod interruption;
mod live;
mod starts;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ByteSize, TaskScope};
use sedge_functions::{Deployment, Function, FunctionsConfig, FunctionsSection, Runtime};

/// What every part of the bench gives.
type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> Done {
    let rounds = argument("--rounds")?.unwrap_or(5000);
    let count = argument("--live")?.unwrap_or(1000);
    starts::print(rounds).await?;
    interruption::print(rounds)?;
    live::print(count).await
}

/// Returns the number behind an argument's name.
fn argument(name: &str) -> Result<Option<u32>, Box<dyn Error>> {
    let mut arguments = std::env::args().skip_while(|it| it != name);
    Ok(arguments.nth(1).map(|it| it.parse()).transpose()?)
}

/// An engine with its folder.
struct Engine {
    runtime: Runtime,
    _scope: TaskScope,
    _folder: tempfile::TempDir,
}

impl Engine {
    /// Starts one with a pool for so many instances.
    fn start(pool: u32) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let scope = TaskScope::new();
        let section = FunctionsSection {
            pool,
            max_concurrent: pool,
            max_component_size: ByteSize::from_mib(64),
            time: Duration::from_secs(300),
            ..FunctionsSection::default()
        };
        let runtime = Runtime::new(FunctionsConfig::try_from(section)?, folder.path(), &scope)?;
        Ok(Self { runtime, _scope: scope, _folder: folder })
    }

    async fn deploy(&self, name: &str, wasm: Vec<u8>) -> Result<Arc<Function>, Box<dyn Error>> {
        Ok(self.runtime.deploy(Deployment::new(name.parse()?, wasm.into())).await?)
    }
}

/// Reads one of the guests of `functions/`.
fn guest(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions"));
    Ok(fs::read(folder.join(name).with_extension("wasm"))?)
}

/// Reads the Python snapshot, where `functions/snapshots.sh` has built it.
fn python() -> Option<Vec<u8>> {
    let kept = std::env::var_os("SEDGE_TEST_GUESTS").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/sedge/guests"));
    fs::read(kept.or_else(home)?.join("python.wasm")).ok()
}

/// Returns what a snapshot of an interpreter is told to run.
fn program(code: &str) -> Bytes {
    format!(r#"{{"code":"{code}","stdin":"","now_ms":0,"seed":1}}"#).into()
}

/// Returns the processor time of this process so far: of the threads that live now.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let mut nanos: u64 = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
