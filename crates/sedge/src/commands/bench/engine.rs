//! Warm calls of a component, and the bare Wasm engine beside them.

use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ErrorKind, TaskScope};
use sedge_functions::{Deployment, FunctionsConfig, FunctionsSection, Runtime, bench};

use super::Figure;
use crate::failed::Failed;

/// A component in C: ASCII letters to upper case.
pub(super) const UPPER: &[u8] = include_bytes!("../../../../../functions/upper.wasm");

/// How long the engine's background work may take to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Measures in this process, without a node.
pub(super) fn measure(rounds: u32) -> Result<Vec<Figure>, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|err| Failed::io("no runtime", &err))?;
    let folder = super::nodes::folder("engine")?;
    let figures = runtime.block_on(calls(&folder, rounds));
    drop(std::fs::remove_dir_all(&folder));
    figures
}

async fn calls(folder: &std::path::Path, rounds: u32) -> Result<Vec<Figure>, Failed> {
    let scope = TaskScope::new();
    let config = FunctionsConfig::try_from(FunctionsSection::default())
        .map_err(|err| Failed::of(ErrorKind::Internal, &err))?;
    let engine =
        Runtime::new(config, folder, &scope).map_err(|err| Failed::of(err.kind(), &err))?;
    let name = "upper".parse().map_err(|err| Failed::of(ErrorKind::Internal, &err))?;
    let function = engine
        .deploy(Deployment::new(name, Bytes::from_static(UPPER)))
        .await
        .map_err(|err| Failed::of(err.kind(), &err))?;
    let figures = bench::calls(&function, Bytes::from_static(b"abc"), rounds)
        .await
        .map_err(|err| Failed::of(err.kind(), &err))?;
    drop(scope.shutdown(GRACE).await);
    let value = format!("p50 {:.1} µs, p99 {:.1} µs", figures.call_p50_us, figures.call_p99_us);
    let bare = format!(
        "bare engine p50 {:.1} µs, p99 {:.1} µs; ours {:.0} %",
        figures.bare_p50_us, figures.bare_p99_us, figures.ours_percent
    );
    let method = format!("{rounds} calls of a 663-byte C component in this process, fresh instance each, turn by turn with the bare engine");
    Ok(vec![Figure::new("warm call, engine", value, method).beside(bare)])
}
