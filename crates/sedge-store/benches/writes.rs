//! Acknowledged writes per second, at 1 and at 64 concurrent writers: median of 5.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sedge_base::{ContentId, NodeId, Timestamp};
use sedge_store::{Role, Store, StoredReceipt};

const WRITES: u64 = 2_000;

async fn measure(writers: u64) -> Result<f64, Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let store = Store::open(&home.path().join("sedge.db")).await?;
    let next = Arc::new(AtomicU64::new(0));
    let started = tokio::time::Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let (store, next) = (store.clone(), Arc::clone(&next));
        running.spawn(async move {
            loop {
                let sequence = next.fetch_add(1, Relaxed);
                if sequence >= WRITES {
                    return Ok::<(), Box<dyn Error + Send + Sync>>(());
                }
                let json = format!("{{\"sequence\":{sequence},\"pad\":\"{}\"}}", "x".repeat(900));
                let receipt = StoredReceipt {
                    id: ContentId::of(json.as_bytes()),
                    executor: NodeId::from_bytes([1; 32]),
                    sequence,
                    task: format!("task-{sequence}").parse()?,
                    role: Role::Executed,
                    countersigned: false,
                    at: Timestamp::from_millis(sequence),
                    json,
                };
                store.receipts().append(receipt).await?;
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended?.map_err(|err| -> Box<dyn Error> { err })?;
    }
    let rate = WRITES as f64 / started.elapsed().as_secs_f64();
    store.close().await?;
    Ok(rate)
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut output = std::io::stdout();
    for writers in [1, 64] {
        let mut rates = Vec::new();
        for _ in 0..5 {
            rates.push(runtime.block_on(measure(writers))?);
        }
        rates.sort_by(f64::total_cmp);
        let [_, _, median, _, _] = rates[..] else { return Err("five runs".into()) };
        writeln!(output, "store: {median:.0} acknowledged writes/s with {writers} writers")?;
    }
    Ok(())
}
