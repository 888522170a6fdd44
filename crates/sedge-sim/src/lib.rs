//! Many whole nodes in one test: a simulated network, virtual time, faults, and one seed that
//! everything follows from.
//!
//! [`run`] brings three to five [`Machine`]s together, makes trouble for twenty seconds of virtual
//! time, mends everything, and holds the nodes to what they said. The nodes are whole: stores on
//! files, pairing, tokens, receipts, the mesh, the quorum. Doubles stand in for four things, and say so in their
//! names or docs: the network ([`SimNet`]), the disk's time and room ([`sedge_store::DiskDouble`]),
//! the clock of each machine, and the engine for functions ([`EngineDouble`]), which runs scripts.
//!
//! Invariants:
//!
//! - Two runs of a seed tell the same story: the same lines, the same arrivals on the network. What
//!   decides when and in which order something happens comes from the seed; what only names things
//!   (ids of tasks, nonces, codes) is the operating system's chance, and no order follows from it.
//! - Not simulated: what SQLite and the file system do in a power cut (a crash here is that of the
//!   program), Wasm, models, artifacts, QUIC itself. Each is tested with its own crate.
//!
//! ```
//! # let homes = tempfile::tempdir()?;
//! let runtime = tokio::runtime::Builder::new_current_thread()
//!     .enable_time()
//!     .start_paused(true)
//!     .build()?;
//! let report = runtime.block_on(sedge_sim::run(7, homes.path()))?;
//! assert!(report.broken.is_empty(), "{report:#?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod books;
mod check;
mod engine;
mod hostile;
mod machine;
mod net;
mod plan;
mod quorum;
mod run;
mod work;

pub use engine::{EngineDouble, Ran, Script};
pub use machine::{Life, Machine, MachineError};
pub use net::{SimEnd, SimNet, Weather};
pub use plan::{Pass, Plan, QuorumAsk, QuorumWork, Sort, Step, TaskWork, Work};
pub use run::{Report, RunError, run};
