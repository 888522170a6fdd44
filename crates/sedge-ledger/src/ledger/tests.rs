//! One chain through restarts, two signatures on every receipt, and what is refused.

use bytes::Bytes;
use sedge_base::Timestamp;
use sedge_capability::{Budgets, Descriptor, Idempotence, Kind, Media, Task, Usage};
use sedge_trust::receipt::{Rung, verify_chain};

use sedge_trust::Status;

use super::*;
use crate::Facts;

struct Bench {
    dir: tempfile::TempDir,
    identity: Identity,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, identity: Identity::generate().unwrap() }
    }

    async fn open(&self) -> Ledger {
        let store = Store::open(&self.dir.path().join("sedge.db")).await.unwrap();
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let swarm = SwarmId::of_key(&[1; 32]);
        Ledger::open(store, self.identity.clone(), clock, swarm, ByteSize::from_mib(1))
            .await
            .unwrap()
    }
}

fn descriptor() -> Descriptor {
    Descriptor {
        name: "fn-1".parse().unwrap(),
        kind: Kind::Function,
        summary: "a function".to_owned(),
        input: Descriptor::bytes_schema(),
        output: Descriptor::bytes_schema(),
        labels: std::collections::BTreeMap::new(),
        limits: Budgets { fuel: Some(1000), ..Budgets::default() },
        idempotence: Idempotence::Once,
        rung: Rung::ReRunnable,
        content: Some(ContentId::of(b"module")),
    }
}

fn task(id: &str, requester: NodeId) -> Task {
    Task {
        id: id.parse().unwrap(),
        capability: "fn-1".parse().unwrap(),
        input: Bytes::from_static(b"in"),
        media: Media::Plain,
        budgets: Budgets::default(),
        deadline: Timestamp::from_millis(1_700_000_001_000),
        priority: Task::USUAL_PRIORITY,
        requester,
    }
}

async fn seal(ledger: &Ledger, task: &Task) -> Receipt {
    let facts = Facts {
        task,
        task_hash: task.hash().unwrap(),
        descriptor: &descriptor(),
        output_hash: ContentId::of(b"out"),
        status: Status::Success,
        usage: Usage { fuel: Some(7), took_us: 1500, ..Usage::default() },
        started: Timestamp::from_millis(10),
        ended: Timestamp::from_millis(12),
    };
    ledger.seal(facts).await.unwrap()
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart() {
    let bench = Bench::new();
    let me = bench.identity.node_id();
    let ledger = bench.open().await;
    for id in ["a", "b"] {
        seal(&ledger, &task(id, me)).await;
    }
    ledger.store.close().await.unwrap();
    drop(ledger);
    let ledger = bench.open().await;
    let third = seal(&ledger, &task("c", me)).await;
    assert_eq!(third.body.sequence, 2);
    let chain = ledger.chain(0, 10).await.unwrap();
    let last = Some(third.id().unwrap());
    verify_chain(&chain, me, |it| *it == me, last).unwrap();
    assert_eq!(ledger.count().await.unwrap(), 3);
    assert_eq!(ledger.last().await.unwrap(), Some(third));
    assert_eq!(ledger.export().await.unwrap().receipts().len(), 3);
}

#[tokio::test]
async fn receipts_that_end_together_keep_one_order() {
    let bench = Bench::new();
    let me = bench.identity.node_id();
    let ledger = bench.open().await;
    let tasks: Vec<_> = (0..20).map(|at| task(&format!("t-{at}"), me)).collect();
    futures_util::future::join_all(tasks.iter().map(|it| seal(&ledger, it))).await;
    let chain = ledger.chain(0, 100).await.unwrap();
    assert_eq!(chain.len(), 20);
    verify_chain(&chain, me, |it| *it == me, None).unwrap();
    assert_eq!(ledger.metrics().capabilities["fn-1"].tasks, 20);
}

#[tokio::test]
async fn the_requester_signs_what_it_knows_and_the_executor_keeps_it() {
    let (executor, requester) = (Bench::new(), Bench::new());
    let (there, here) = (executor.open().await, requester.open().await);
    let asked = task("t", requester.identity.node_id());
    let receipt = seal(&there, &asked).await;
    assert_eq!(receipt.requester_signature, None);
    let expected = Expected {
        executor: executor.identity.node_id(),
        task: &asked,
        task_hash: asked.hash().unwrap(),
        output_hash: ContentId::of(b"out"),
        status: Status::Success,
    };
    let other = Expected { output_hash: ContentId::of(b"other"), ..expected };
    let refused = here.countersign(receipt.clone(), other).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Mismatch(Mismatch { fact: "output" })), "{refused}");
    assert_eq!(here.count().await.unwrap(), 0);

    let mut altered = receipt.clone();
    altered.body.used.fuel += 1;
    let refused = here.countersign(altered, expected).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Sign(_)), "{refused}");

    let signed = here.countersign(receipt.clone(), expected).await.unwrap();
    let from = requester.identity.node_id();
    assert!(matches!(there.confirm(receipt, from).await, Err(LedgerError::NotConfirmed)));
    there.confirm(signed.clone(), from).await.unwrap();
    assert_eq!(there.last().await.unwrap(), Some(signed.clone()));
    assert_eq!(here.of_task(&asked.id).await.unwrap(), Some(signed));
}
