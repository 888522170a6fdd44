//! The example code of the older library's document, as it stands there: only the crate's name is
//! changed. Where the document leaves variables to its reader, they are a function's parameters.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sedge_base::{ContentId, Timestamp};
use sedge_swarm::p2p::envelope::{TaskBudgets, TaskEnvelope, TaskReceipt, TaskStatus};
use sedge_swarm::p2p::{ClaimError, Execution, P2PSwarmV2, TaskExecutor, Work};

use crate::processes::{Other, SOON, SWARM_KEY, end, say};

type Failure = Box<dyn std::error::Error>;

/// "Create a Secure P2P Swarm", whole.
#[expect(clippy::str_to_string, unused_imports, reason = "the document's text")]
mod create {
    use sedge_swarm::p2p::envelope::{TaskBudgets, TaskEnvelope, TaskStatus};
    use sedge_swarm::p2p::{IdentityManager, P2PSwarmV2};

    #[rustfmt::skip]
    #[tokio::main]
    pub(super) async fn main() -> Result<(), Box<dyn std::error::Error>> {
        // Create swarm coordinator
        let mut swarm = P2PSwarmV2::new(
            "agent-001",
            None,  // Generate random swarm key (or provide [u8; 32])
            vec!["executor".to_string(), "coordinator".to_string()],
        );

        // Connect to network
        swarm.connect().await?;

        // Register a peer (from signed registration)
        let peer_identity = IdentityManager::new();
        let registration = peer_identity.create_registration(
            "peer-001",
            vec!["worker".to_string()],
        );
        swarm.register_member(registration);

        // Publish encrypted message (auto-signed)
        let message = b"Hello, swarm!";
        let msg_id = swarm.publish("chat", message)?;

        // Store artifact and get CID
        let data = b"Q-table data here";
        let cid = swarm.store_artifact(data, true)?;  // compressed

        // Create signed artifact pointer
        let pointer = swarm.create_artifact_pointer(
            sedge_swarm::p2p::envelope::ArtifactType::QTable,
            &cid,
            "100x10",
        );

        // After the document's last line: what its lines are to have done.
        let member = swarm.resolve_member("peer-001").ok_or("not registered")?;
        assert_eq!(member.node_id, peer_identity.identity()?.node_id());
        assert!(msg_id.starts_with(&swarm.status()?.swarm_id.to_string()));
        assert_eq!(cid, "local:03e1c93219004c0d5f10f904b02a40f6");
        assert_eq!(pointer.ok_or("no pointer")?.record.dimensions, "100x10");
        Ok(())
    }
}

/// "Task Execution with Receipts", whole.
#[expect(clippy::str_to_string, reason = "the document's text")]
#[rustfmt::skip]
fn task_execution(
    swarm: &P2PSwarmV2,
    deadline: u64,
    input_hash: [u8; 32],
    output_hash: [u8; 32],
    module_hash: [u8; 32],
) -> Result<(TaskEnvelope, TaskReceipt), Failure> {
    // Submit task
    let task = TaskEnvelope::new(
        "task-001".to_string(),
        "local:module_cid".to_string(),
        "process".to_string(),
        "local:input_cid".to_string(),
        [0u8; 32],  // output schema hash
        TaskBudgets {
            fuel_limit: 1_000_000,
            memory_mb: 128,
            timeout_ms: 30_000,
        },
        "requester-001".to_string(),
        deadline,
        1,  // priority
    );

    swarm.submit_task(task.clone())?;

    // Claim task for execution
    let claim = swarm.claim_task("task-001")?;

    // After execution, create signed receipt (full binding)
    let receipt = swarm.create_receipt(
        &task,
        "local:result_cid".to_string(),
        TaskStatus::Success,
        500_000,   // fuel_used
        64,        // memory_peak_mb
        1500,      // execution_ms
        input_hash,
        output_hash,
        module_hash,
    );

    assert_eq!(claim.record.task_id, "task-001");
    Ok((task, receipt?))
}

/// "Derive Session Keys for Direct Channels", whole.
#[rustfmt::skip]
fn session_key(swarm: &P2PSwarmV2) -> Result<[u8; 32], Failure> {
    // After both parties are registered in registry
    let session_key = swarm.derive_session_key("peer-001")?;

    // Use for direct WebRTC channel encryption
    // (separate from swarm broadcast key)
    Ok(*session_key.as_bytes())
}

/// "Basic Swarm Agent": the lines between the braces of its `main`, with the coordinator's address
/// as a parameter, since the host `coordinator` exists in the document only.
macro_rules! basic_agent {
    ($address:expr) => {
        let config = SwarmConfig::default()
            .with_agent_id("my-agent")
            .with_role(AgentRole::Worker)
            .with_transport(Transport::WebSocket);

        let mut agent = SwarmAgent::new(config).await?;

        // Join swarm
        agent.join_swarm($address).await?;

        // Learn from experience
        agent.learn("edit_ts", "typescript-developer", 0.9).await;

        // Get best action
        let actions = vec!["coder".to_string(), "reviewer".to_string()];
        if let Some((action, confidence)) = agent.get_best_action("edit_ts", &actions).await {
            println!("Best action: {} ({:.0}% confidence)", action, confidence * 100.0);
        }

        // Store vector memory
        let embedding = vec![0.1, 0.2, 0.3, 0.4];
        agent.store_memory("API authentication flow", embedding).await?;

        // Search memory
        let query = vec![0.1, 0.2, 0.3, 0.4];
        let results = agent.search_memory(&query, 5).await;
        assert_eq!(results.len(), 1);
    };
}

#[expect(unused_mut, reason = "the document's text")]
mod basic {
    use sedge_swarm::prelude::*;

    /// The document's own address: compiled, and not run, because there is no such host.
    #[expect(dead_code, reason = "there is no host called `coordinator`")]
    async fn as_written() -> Result<()> {
        basic_agent!("ws://coordinator:8080");
        Ok(())
    }

    pub(super) async fn main(address: &str) -> Result<()> {
        basic_agent!(address);
        Ok(())
    }
}

/// "Distributed Learning Sync", whole.
#[expect(clippy::print_stdout, unused_variables, reason = "the document's text")]
#[rustfmt::skip]
async fn learning_sync(peer_data: Vec<u8>) -> Result<(), Failure> {
    use sedge_swarm::intelligence::IntelligenceSync;

    // Create sync manager
    let sync = IntelligenceSync::new("agent-001");

    // Update patterns locally
    sync.update_pattern("edit_rs", "rust-developer", 0.95).await;

    // Serialize for network transfer
    let data = sync.serialize_state().await?;

    // Merge peer state (federated learning)
    let merge_result = sync.merge_peer_state("peer-002", &peer_data).await?;
    println!("Merged {} patterns from peer", merge_result.merged_patterns);

    // Get aggregated stats
    let stats = sync.get_swarm_stats().await;
    println!("Swarm: {} agents, {} patterns", stats.total_agents, stats.total_patterns);

    assert_eq!((stats.total_agents, stats.total_patterns), (2, 1));
    Ok(())
}

#[test]
fn the_document_creates_a_swarm() {
    create::main().unwrap();
}

#[tokio::test]
async fn the_document_learns() {
    let peer = sedge_swarm::intelligence::IntelligenceSync::new("peer-002");
    peer.update_pattern("edit_rs", "rust-developer", 0.5).await;
    learning_sync(peer.serialize_state().await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_documents_agent_joins_a_coordinator() {
    use sedge_swarm::prelude::*;
    let config =
        SwarmConfig::default().with_agent_id("coord-001").with_role(AgentRole::Coordinator);
    let coordinator = SwarmAgent::new(config).await.unwrap();
    let address = format!("ws://{}", coordinator.addr().await.unwrap().direct[0]);
    basic::main(&address).await.unwrap();
    let joined = coordinator.until(SOON, |it| it.get_peers().get("my-agent").map(|it| it.role));
    assert_eq!(joined.await, Some(AgentRole::Worker));

    coordinator.leave_swarm().await.unwrap();
    let gone = basic::main(&address).await.unwrap_err();
    assert_eq!(gone.kind(), sedge_base::ErrorKind::Unavailable, "{gone}");
}

/// What makes the test start the worker process.
pub(crate) const WORKER: &str = "document-worker";

/// Runs a task whose module is the name of what is to be done with the input.
#[derive(Debug)]
struct Letters;

#[async_trait]
impl TaskExecutor for Letters {
    async fn execute(&self, work: Work) -> Execution {
        let text = String::from_utf8_lossy(&work.input);
        let fuel_used = work.input.len() as u64;
        let (status, output) = match &work.module[..] {
            _ if fuel_used > work.task.budgets.fuel_limit => (TaskStatus::Error, Vec::new()),
            b"upper" => (TaskStatus::Success, text.to_uppercase().into_bytes()),
            b"wait" => std::future::pending().await,
            _ => (TaskStatus::Error, b"no such module".to_vec()),
        };
        Execution { status, output, fuel_used, memory_peak_mb: 1 }
    }
}

/// The other process: a worker that tells what it hears.
pub(crate) async fn worker() {
    let mut swarm = P2PSwarmV2::new("peer-001", Some(SWARM_KEY), vec!["worker".to_owned()]);
    swarm.connect().await.unwrap();
    for handler in ["first", "second"] {
        let said = swarm.subscribe("chat", move |it| {
            let text = String::from_utf8_lossy(&it.payload).into_owned();
            say(&format!("{handler} handler: {} from {}", text, it.sender_id));
        });
        assert!(said);
    }
    swarm.set_executor(Arc::new(Letters)).unwrap();
    say(&format!("ready {}", serde_json::to_string(&swarm.addr().unwrap()).unwrap()));
    assert!(swarm.wait_for_peer("requester-001", SOON).await);
    let key = swarm.derive_session_key("requester-001").unwrap();
    say(&format!("session key {}", ContentId::from_bytes(*key.as_bytes())));
    end().await;
    swarm.disconnect().await;
}

fn now_and(minutes: u64) -> u64 {
    let clock = sedge_base::Clock::machine();
    clock.now().plus(Duration::from_secs(60 * minutes)).as_millis()
}

/// Has the worker run a module on an input, and returns the verified receipt.
async fn run(
    swarm: &P2PSwarmV2,
    id: &str,
    module: &str,
    input: &str,
    timeout_ms: u64,
) -> TaskReceipt {
    let module_cid = swarm.store_artifact(module, false).unwrap();
    let input_cid = swarm.store_artifact(input, false).unwrap();
    let budgets = TaskBudgets { fuel_limit: 1000, memory_mb: 16, timeout_ms };
    let (requester, deadline) = ("requester-001".to_owned(), now_and(5));
    let (entry, schema) = ("process".to_owned(), [0; 32]);
    let id = id.to_owned();
    let task = TaskEnvelope::new(
        id.clone(),
        module_cid,
        entry,
        input_cid,
        schema,
        budgets,
        requester,
        deadline,
        1,
    );
    assert_eq!(swarm.submit_task(task).unwrap(), id);
    let receipt = swarm.wait_receipt(&id, SOON).await.unwrap();
    swarm.verify_receipt(&receipt).unwrap();
    assert_eq!(receipt.record.executor, "peer-001");
    assert_eq!(receipt.record.input_hash, ContentId::of(input.as_bytes()));
    assert_eq!(receipt.record.module_hash, ContentId::of(module.as_bytes()));
    receipt
}

// Waiting for a line of the other process holds one thread up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_steps_between_two_processes() {
    let mut other = Other::start(WORKER);
    let to = serde_json::from_str(&other.says("ready ")).unwrap();
    let mut swarm = P2PSwarmV2::new("requester-001", Some(SWARM_KEY), vec!["requester".to_owned()]);
    swarm.connect().await.unwrap();
    swarm.join(&to).await.unwrap();

    // Registration: each knows the other by its signed registration.
    let worker = swarm.resolve_member("peer-001").unwrap();
    assert_eq!(
        (worker.node_id, worker.capabilities.as_slice()),
        (to.node, &["worker".to_owned()][..])
    );

    // Session key: the same on both ends.
    let key = session_key(&swarm).unwrap();
    assert_eq!(other.says("session key "), ContentId::from_bytes(key).to_string());

    // Publish: every handler of the other process hears it.
    swarm.publish("chat", b"Hello, swarm!").unwrap();
    assert_eq!(other.says("first handler: "), "Hello, swarm! from requester-001");
    assert_eq!(other.says("second handler: "), "Hello, swarm! from requester-001");

    // Task: claimed and run by the other process; its receipt is verified, and so is the result.
    let receipt = run(&swarm, "task-upper", "upper", "hello", 30_000).await;
    assert_eq!((receipt.record.status, receipt.record.fuel_used), (TaskStatus::Success, 5));
    let result = swarm.fetch_artifact("peer-001", &receipt.record.result_cid).await.unwrap();
    assert_eq!(result, "HELLO");
    assert_eq!(receipt.record.output_hash, ContentId::of(b"HELLO"));
    let mut forged = receipt.clone();
    forged.record.fuel_used = 0;
    assert!(swarm.verify_receipt(&forged).is_err());

    // Budgets: the swarm stops what takes longer than it may, the executor what burns too much.
    let receipt = run(&swarm, "task-wait", "wait", "x", 50).await;
    assert_eq!(receipt.record.status, TaskStatus::Timeout);
    let receipt = run(&swarm, "task-fuel", "upper", &"x".repeat(1001), 30_000).await;
    assert_eq!(receipt.record.status, TaskStatus::Error);

    // The document's own task, claimed by who submitted it: the other process cannot run it, since
    // nobody has the artifacts that it names.
    let (task, receipt) = task_execution(&swarm, now_and(5), [1; 32], [2; 32], [3; 32]).unwrap();
    swarm.verify_receipt(&receipt).unwrap();
    assert_eq!(receipt.record.task_envelope_hash, *task.envelope_hash());
    assert_eq!(receipt.record.end_timestamp - receipt.record.start_timestamp, 1500);
    let claimed = swarm.claim_task("task-001").unwrap_err();
    assert!(matches!(claimed, ClaimError::Claimed { .. }), "{claimed}");
    assert!(task.deadline > Timestamp::from_millis(0));
    swarm.disconnect().await;
}
