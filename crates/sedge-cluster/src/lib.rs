//! An older edge cluster API, over the mesh: nodes are the members of the swarm, functions are deployed components,
//! plans are the node's rollouts, jobs its schedules, and payloads its batches (seed 000).
//!
//! Names, defaults and results are the seed's; what was faked there is done: another machine runs the function, its
//! time ends it in the middle, a lost node's functions are brought elsewhere.
//!
//! Invariants: it holds no second truth. What the mesh knows is asked of the mesh each time; what is kept here, on disk,
//! is what the mesh does not know: places, metadata and limits that were said about members, the components that were
//! brought to nodes and where, the state that is synchronised, and cached values. It opens no connections and decides
//! nothing about who may do what: its doors do. Everything is bounded.
//!
//! ```
//! use sedge_base::{Clock, Timestamp};
//! use sedge_cluster::{EdgeMetrics, EdgeSynchronizer, InvocationRecord, SyncState};
//!
//! let now = Clock::manual(Timestamp::from_millis(0)).now();
//! let mut metrics = EdgeMetrics::new();
//! metrics.record(&InvocationRecord::new(("fn-1", "edge-1"), 15.2, true, now));
//! assert_eq!(metrics.success_rate(Some("fn-1")), 100.0);
//!
//! let mut sync = EdgeSynchronizer::default();
//! sync.update_local(serde_json::from_str(r#"{"readings": [1, 2, 3]}"#)?, now);
//! let data = serde_json::from_str(r#"{"readings": [4, 5]}"#)?;
//! assert_eq!(sync.apply_remote(SyncState::from_data(data, 5, now), now), Ok(true));
//! assert_eq!(sync.confirm_sync(3, now), 1);
//! assert!(sync.is_synced());
//! # Ok::<(), serde_json::Error>(())
//! ```

mod cache;
mod cluster;
mod deployments;
mod failure;
mod function;
mod kept;
mod metrics;
mod monitor;
mod node;
mod orchestrator;
mod record;
mod runtime;
mod scheduler;
mod seconds;
mod state;
mod synchronizer;

pub use cache::{CacheEntry, CacheStats, EdgeCache};
pub use cluster::{ClusterHealth, EdgeCluster, Healed, Landed, NodeSummary, RegisterError, Spread};
pub use deployments::{DeploymentManager, DeploymentPlan, PlanAsk, PlanNotes};
pub use function::{EdgeFunction, EdgeLimits, FunctionError};
pub use metrics::{EdgeMetrics, InvocationRecord, MetricsSummary};
pub use monitor::{
    CheckDetails, Checked, ClusterCheck, HEARTBEAT_TIMEOUT, HealthCheck, HealthMonitor,
    MonitorSummary,
};
pub use node::{EdgeNode, EdgeNodeStatus, NodeDict, ResourceUsage};
pub use orchestrator::{AsyncEdgeOrchestrator, Dispatch, Dispatched, Retrieved};
pub use runtime::{
    CallStats, EdgeRuntime, FunctionListed, FunctionStats, InvokeError, Invoked, RuntimeSummary,
};
pub use scheduler::{EdgeScheduler, JobAsk, ScheduleType, ScheduledJob, SchedulerSummary};
pub use state::{SyncState, checksum};
pub use synchronizer::{
    ApplyError, ChangeKind, Conflict, ConflictStrategy, Direction, EdgeSynchronizer, PendingChange,
    SyncEvent, SyncSummary,
};
