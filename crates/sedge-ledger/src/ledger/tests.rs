//! One chain through restarts, two signatures on every receipt, and what is refused.

use bytes::Bytes;
use sedge_base::Timestamp;
use sedge_capability::{Budgets, Descriptor, Idempotence, Kind, Media, Task, Usage};
use sedge_trust::receipt::{ProvenChain, Rung, verify_chain, verify_chain_file};

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
        labels: BTreeMap::new(),
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
        profile: None,
        started: Timestamp::from_millis(10),
        ended: Timestamp::from_millis(12),
    };
    ledger.seal(facts).await.unwrap()
}

#[tokio::test]
async fn only_a_whole_answer_with_a_profile_is_bit_replayable() {
    let bench = Bench::new();
    let ledger = bench.open().await;
    let model = Descriptor { rung: Rung::BitReplayable, ..descriptor() };
    let long = "x".repeat(300);
    let cases = [
        (&model, Status::Success, Some("bits"), Rung::BitReplayable),
        (&model, Status::Success, None, Rung::Attested),
        (&model, Status::Success, Some(long.as_str()), Rung::Attested),
        (&model, Status::Cancelled, Some("bits"), Rung::Attested),
        (&descriptor(), Status::Success, Some("bits"), Rung::ReRunnable),
    ];
    for (number, (descriptor, status, profile, rung)) in cases.into_iter().enumerate() {
        let task = task(&format!("t-{number}"), bench.identity.node_id());
        let facts = Facts {
            task: &task,
            task_hash: task.hash().unwrap(),
            descriptor,
            output_hash: ContentId::of(b"out"),
            status,
            usage: Usage::default(),
            profile,
            started: Timestamp::from_millis(10),
            ended: Timestamp::from_millis(12),
        };
        let body = ledger.seal(facts).await.unwrap().body;
        assert_eq!(body.rung, rung, "{number}");
        assert_eq!(body.profile.is_some(), rung == Rung::BitReplayable, "{number}");
        let kept = ledger.input(body.input_hash).await.unwrap().is_some();
        assert!(kept || rung == Rung::Attested, "{number}: what can be run again is kept");
    }
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

/// A ledger with a chain of so many receipts.
async fn chain(bench: &Bench, count: usize) -> Ledger {
    let ledger = bench.open().await;
    for at in 0..count {
        seal(&ledger, &task(&format!("t-{at}"), bench.identity.node_id())).await;
    }
    ledger
}

fn keys_known(file: &[u8], executor: NodeId, held: &[Checkpoint]) -> Result<ProvenChain, String> {
    verify_chain_file(file, executor, |it| *it == executor, held).map_err(|it| it.to_string())
}

#[tokio::test]
async fn receipts_that_end_together_share_a_signature() {
    let bench = Bench::new();
    let me = bench.identity.node_id();
    let ledger = bench.open().await;
    // The chain is held while they come, so that all of them wait.
    let held = ledger.head.lock().await;
    let tasks: Vec<_> = (0..20).map(|at| task(&format!("t-{at}"), me)).collect();
    let all = futures_util::future::join_all(tasks.iter().map(|it| seal(&ledger, it)));
    let (_, receipts) = futures_util::future::join(async { drop(held) }, all).await;
    let together = receipts.iter().filter(|it| it.batch.is_some()).count();
    assert!(together > 1, "{together}");
    let signatures: std::collections::BTreeSet<_> =
        receipts.iter().map(|it| it.executor_signature.to_string()).collect();
    assert!(signatures.len() < receipts.len());
    let file = ledger.export_chain(0).await.unwrap();
    assert_eq!(keys_known(&file, me, &[]).unwrap().records, 20);
}

#[tokio::test]
async fn a_checkpoint_counts_every_receipt_and_the_next_one_goes_on_from_it() {
    let bench = Bench::new();
    let me = bench.identity.node_id();
    let ledger = chain(&bench, 3).await;
    assert_eq!(ledger.newest_checkpoint(), None);
    let three = ledger.checkpoint().await.unwrap();
    assert_eq!(three.point.count, 3);
    assert_eq!(ledger.checkpoint().await.unwrap(), three);
    for at in 3..70 {
        seal(&ledger, &task(&format!("t-{at}"), me)).await;
    }
    let made = ledger.newest_checkpoint().unwrap();
    assert_eq!(made.point.count, 64, "made by itself");
    let proof = ledger.consistency(3, 64).await.unwrap().unwrap();
    made.goes_on_from(&three, &proof).unwrap();
    assert_eq!(ledger.consistency(65, 64).await.unwrap(), None);

    let receipt = ledger.chain(5, 1).await.unwrap().remove(0);
    let anchor = ledger.anchor(&receipt, Some(3)).await.unwrap().unwrap();
    assert_eq!(anchor.checkpoint.point.count, 70);
    anchor.verify(&receipt, &me).unwrap();
    anchor.verify_since(&three, &me).unwrap();
    let never = ledger.anchor(&receipt, Some(71)).await;
    assert!(matches!(never, Err(LedgerError::NeverSoMany { count: 71, size: 70 })));

    for from in [0, 5, 69, 70] {
        let file = ledger.export_chain(from).await.unwrap();
        let proven = keys_known(&file, me, std::slice::from_ref(&anchor.checkpoint)).unwrap();
        assert_eq!((proven.from, proven.records), (from, 70 - from));
    }
    assert!(matches!(ledger.export_chain(71).await, Err(LedgerError::NeverSoMany { .. })));
}

#[tokio::test]
async fn a_chain_that_was_rewritten_on_disk_is_not_gone_on_with() {
    let (bench, other) = (Bench::new(), Bench::new());
    let ledger = chain(&bench, 4).await;
    let ledger_of_other = chain(&other, 4).await;
    ledger.checkpoint().await.unwrap();
    let foreign = ledger_of_other.checkpoint().await.unwrap();
    // The same node's signature over another history of as many receipts.
    let point = Point { node: bench.identity.node_id(), count: 3, ..foreign.point };
    let forged = Checkpoint::sign(point, &bench.identity).unwrap();
    ledger.store.close().await.unwrap();
    drop(ledger);
    let path = bench.dir.path().join("sedge.db");
    let reopen = async |json: String, count: u64| {
        let store = Store::open(&path).await.unwrap();
        let me = bench.identity.node_id();
        let at = Timestamp::from_millis(1);
        store.checkpoints().put(me, count, at, json).await.unwrap();
        let clock = Clock::manual(at);
        let swarm = SwarmId::of_key(&[1; 32]);
        let opened =
            Ledger::open(store.clone(), bench.identity.clone(), clock, swarm, ByteSize::default())
                .await
                .map(drop);
        store.close().await.unwrap();
        opened
    };
    // A checkpoint of more receipts than there are: the end of the chain is gone.
    let point = Point { count: 9, ..forged.point };
    let longer = Checkpoint::sign(point, &bench.identity).unwrap();
    let json = serde_json::to_string(&longer).unwrap();
    let refused = reopen(json, 9).await;
    assert!(matches!(refused, Err(LedgerError::Rewritten { count: 9 })), "{refused:?}");
}

/// Shows `from`'s chain to `to`, as over the mesh.
async fn show(from: &Ledger, to: &Ledger) -> Result<(), LedgerError> {
    let node = from.identity.node_id();
    let questions = to.questions(node).await?;
    let checkpoint = from.checkpoint().await?;
    let mut proofs = Vec::new();
    for it in &questions {
        let proof = from.consistency(it.point.count, checkpoint.point.count).await?;
        proofs.push(proof.unwrap_or_default());
    }
    to.witness(node, &questions, Shown { checkpoint, proofs }).await
}

/// Two ledgers of one node with the same beginning and other ends.
async fn fork(bench: &Bench) -> (Ledger, Ledger, Bench) {
    let first = chain(bench, 3).await;
    let copy = Bench { dir: tempfile::tempdir().unwrap(), identity: bench.identity.clone() };
    let second = chain(&copy, 3).await;
    let me = bench.identity.node_id();
    for (ledger, ends) in [(&first, ["a", "b"]), (&second, ["x", "y"])] {
        for id in ends {
            seal(ledger, &task(id, me)).await;
        }
    }
    (first, second, copy)
}

#[tokio::test]
async fn another_nodes_chain_is_followed_and_two_histories_change_nothing() {
    let (bench, witness) = (Bench::new(), Bench::new());
    let here = witness.open().await;
    let (one, other, _copy) = fork(&bench).await;
    show(&one, &here).await.unwrap();
    seal(&one, &task("c", bench.identity.node_id())).await;
    show(&one, &here).await.unwrap();
    let kept = here.witnessed().await.unwrap();
    assert_eq!((kept.len(), kept[0].checkpoint.point.count), (1, 6));
    assert_eq!(kept[0].contradiction, None);

    let shorter = show(&other, &here).await.unwrap_err();
    let why = TwoHistories::Shorter { known: 6, shown: 5 };
    assert!(matches!(shorter, LedgerError::Contradiction { why: it, .. } if it == why));
    for at in 0..4 {
        seal(&other, &task(&format!("z-{at}"), bench.identity.node_id())).await;
    }
    let unproven = show(&other, &here).await.unwrap_err();
    assert!(matches!(unproven, LedgerError::Contradiction { .. }), "{unproven}");
    let after = here.witnessed().await.unwrap();
    assert_eq!(after[0].checkpoint, kept[0].checkpoint, "what was kept stays");
    let noted = after[0].contradiction.as_ref().unwrap();
    assert_eq!(noted.known, kept[0].checkpoint);
    noted.shown.verify(&bench.identity.node_id()).unwrap();
    let audit = here.store.audit().list(10).await.unwrap();
    assert_eq!(audit.len(), 1, "reported once");
    assert_eq!(audit[0].kind, "checkpoint.contradicted");

    // The honest chain is still followed.
    seal(&one, &task("d", bench.identity.node_id())).await;
    show(&one, &here).await.unwrap();
    assert_eq!(here.witnessed().await.unwrap()[0].checkpoint.point.count, 7);
}

#[tokio::test]
async fn two_members_that_were_shown_different_chains_find_it_out() {
    let (bench, left, right) = (Bench::new(), Bench::new(), Bench::new());
    let (left, right) = (left.open().await, right.open().await);
    let (one, other, _copy) = fork(&bench).await;
    let node = bench.identity.node_id();
    show(&one, &left).await.unwrap();
    show(&other, &right).await.unwrap();
    let kept = |it: Vec<Witnessed>| it[0].checkpoint.clone();
    let told = kept(right.witnessed().await.unwrap());
    let same = left.hear_of(node, told).await.unwrap_err();
    assert!(matches!(same, LedgerError::Contradiction { .. }), "{same}");

    // Of another length: the node itself is asked, and has no proof for both.
    let other_left = Bench::new();
    let left = other_left.open().await;
    show(&one, &left).await.unwrap();
    seal(&other, &task("z", node)).await;
    show(&other, &right).await.unwrap();
    left.hear_of(node, kept(right.witnessed().await.unwrap())).await.unwrap();
    assert_eq!(left.questions(node).await.unwrap().len(), 2);
    let caught = show(&one, &left).await.unwrap_err();
    assert!(matches!(caught, LedgerError::Contradiction { .. }), "{caught}");
    assert!(left.witnessed().await.unwrap()[0].contradiction.is_some());
}

#[tokio::test]
async fn what_others_forge_of_a_chain_is_not_taken_in() {
    let (bench, witness, liar) = (Bench::new(), Bench::new(), Bench::new());
    let (one, here) = (chain(&bench, 2).await, witness.open().await);
    let node = bench.identity.node_id();
    show(&one, &here).await.unwrap();
    let point = Point { count: 1, ..one.checkpoint().await.unwrap().point };
    let forged = Checkpoint { signature: liar.identity.sign(b"a text"), point };
    let shown = Shown { checkpoint: forged.clone(), proofs: Vec::new() };
    assert!(matches!(here.witness(node, &[], shown).await, Err(LedgerError::Checkpoint(_))));
    assert!(matches!(here.hear_of(node, forged).await, Err(LedgerError::Checkpoint(_))));
    let liars = liar.identity.node_id();
    let foreign = Shown { checkpoint: one.checkpoint().await.unwrap(), proofs: Vec::new() };
    assert!(matches!(here.witness(liars, &[], foreign).await, Err(LedgerError::Checkpoint(_))));
    let kept = here.witnessed().await.unwrap();
    assert_eq!((kept.len(), kept[0].checkpoint.point.count), (1, 2));
    assert_eq!(kept[0].contradiction, None);
}

#[tokio::test]
async fn inputs_of_what_can_be_run_again_are_kept_as_the_owner_says() {
    let bench = Bench::new();
    let me = bench.identity.node_id();
    let ledger = chain(&bench, 1).await;
    let id = ContentId::of(b"in");
    let kept = |it: &'static [u8]| Some((Bytes::from_static(it), Media::Plain));
    assert_eq!(ledger.input(id).await.unwrap(), kept(b"in"));
    assert_eq!(ledger.input(ContentId::of(b"")).await.unwrap(), kept(b""));
    ledger.store.close().await.unwrap();
    drop(ledger);
    let store = Store::open(&bench.dir.path().join("sedge.db")).await.unwrap();
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let swarm = SwarmId::of_key(&[1; 32]);
    let none = ByteSize::default();
    let ledger = Ledger::open(store, bench.identity.clone(), clock, swarm, none).await.unwrap();
    assert_eq!(ledger.input(id).await.unwrap(), None, "forgotten when switched off");
    seal(&ledger, &task("again", me)).await;
    assert_eq!(ledger.input(id).await.unwrap(), None);
}
