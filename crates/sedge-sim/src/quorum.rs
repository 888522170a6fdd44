//! What a run asks of the quorum, and the rules for the history of its answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::NodeId;
use sedge_capability::Failure;
use sedge_node::{Claim, Record};
use tokio::time::{Instant, sleep, timeout};

use crate::books::Books;
use crate::machine::{Life, Machine};
use crate::plan::{QuorumAsk, QuorumWork};
use crate::run::Run;
use crate::work::{NEVER, judge, word};

/// So many machines vote, the first ones.
pub(crate) const VOTERS: usize = 3;
/// How often founding is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Something that was asked of the quorum and granted.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    began: Instant,
    ended: Instant,
    what: Right,
}

/// What was granted.
#[derive(Debug, Clone)]
enum Right {
    Claimed(Claim),
    Recorded(Record),
}

/// Lets the owner's node found the quorum; `false` when it did not in this time.
pub(crate) async fn found(machines: &[Machine], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let others: Vec<String> = machines[1..VOTERS].iter().map(|it| it.name.clone()).collect();
    while Instant::now() < deadline {
        let Some(owner) = machines[0].life() else { return false };
        let founded = owner.node.found_quorum(&others).await;
        if founded.is_ok_and(|it| it.coordinator.is_some())
            || owner.node.quorum_view().coordinator.is_some()
        {
            return true;
        }
        sleep(AGAIN).await;
    }
    false
}

/// Asks the quorum for something and notes what came of it.
pub(crate) fn ask(books: &Books, life: &Life, work: &QuorumWork) {
    let (books, node, work) = (books.clone(), Arc::clone(&life.node), work.clone());
    life.scope.spawn("quorum asker", async move |_| {
        let what = format!("{:?} on n{}", work.ask, work.on);
        let _begun = books.open(what.clone());
        let began = Instant::now();
        let asked = async {
            match &work.ask {
                QuorumAsk::Claim { key, ttl } => {
                    let key = format!("key{key}").parse().map_err(odd)?;
                    node.claim(key, *ttl, None).await.map(Right::Claimed)
                }
                QuorumAsk::Record { number } => {
                    let text = format!("record {number}").parse().map_err(odd)?;
                    node.record(text).await.map(Right::Recorded)
                }
            }
        };
        match timeout(NEVER, asked).await {
            Ok(Ok(right)) => {
                books.say(format!("{what}: {}", told(&right)));
                let granted = Granted { began, ended: Instant::now(), what: right };
                books.pages().granted.push(granted);
            }
            Ok(Err(failure)) => {
                judge(&books, &what, &failure);
                books.say(format!("{what}: {}", word(&failure)));
            }
            Err(_) => books.broken(format!("{what} never ended")),
        }
    });
}

fn odd(error: impl std::fmt::Display) -> Failure {
    Failure::new(sedge_base::ErrorKind::Internal, "bad_text", error)
}

fn told(right: &Right) -> String {
    match right {
        Right::Claimed(claim) => format!("fence {}", claim.fence),
        Right::Recorded(record) => format!("number {}", record.number),
    }
}

/// Holds the answers to a history in which everything happened at one moment between question and
/// answer: fences grow, no two have the same, nothing that was acknowledged is lost.
pub(crate) async fn check(run: &Run, members: &[usize]) {
    let granted = run.books.pages().granted.clone();
    fences(&run.books, &granted);
    numbers(&run.books, &granted);
    coordinators(run);
    // Two of the three that vote have to be members.
    if members.iter().filter(|it| **it < VOTERS).count() >= 2 {
        stands(run, members, &granted).await;
    }
}

/// Of two claims on a key, the one that was asked for after the other was granted has the greater fence,
/// unless it is the same claim for longer. (Between keys nothing follows: a claim that is kept longer
/// keeps its fence, also one whose first answer was lost.)
fn fences(books: &Books, granted: &[Granted]) {
    let claims = granted.iter().filter_map(|it| match &it.what {
        Right::Claimed(claim) => Some((it, claim)),
        Right::Recorded(_) => None,
    });
    let claims: Vec<_> = claims.collect();
    for (one, first) in &claims {
        for (other, second) in &claims {
            let same = (&first.key, first.holder) == (&second.key, second.holder);
            if first.fence == second.fence && !same {
                books.broken(format!("two claims with one fence: {first:?}, {second:?}"));
            }
            let later = first.key == second.key && one.ended < other.began;
            if later && second.fence < first.fence {
                books.broken(format!("a later claim has a smaller fence: {first:?}, {second:?}"));
            }
        }
    }
}

/// Of two records, the one that was asked for after the other stood has the greater number.
fn numbers(books: &Books, granted: &[Granted]) {
    let records = granted.iter().filter_map(|it| match &it.what {
        Right::Recorded(record) => Some((it, record)),
        Right::Claimed(_) => None,
    });
    let records: Vec<_> = records.collect();
    for (one, first) in &records {
        for (other, second) in &records {
            if first.number == second.number && first.text != second.text {
                books.broken(format!("two records at one place: {first:?}, {second:?}"));
            }
            if one.ended < other.began && second.number <= first.number {
                books.broken(format!("a later record stands before: {first:?}, {second:?}"));
            }
        }
    }
}

/// No fence and no term ever had two coordinators.
fn coordinators(run: &Run) {
    let mut by_fence: BTreeMap<u64, (NodeId, u64)> = BTreeMap::new();
    let mut by_term: BTreeMap<u64, NodeId> = BTreeMap::new();
    for machine in run.machines.iter().filter(|it| !run.is_hostile(it.index)) {
        let Some(life) = machine.life() else { continue };
        for it in life.node.quorum_view().history {
            let known = *by_fence.entry(it.fence).or_insert((it.node, it.term));
            let led = *by_term.entry(it.term).or_insert(it.node);
            if known != (it.node, it.term) || led != it.node {
                run.books.broken(format!("{} has another coordinator: {it:?}", machine.name));
            }
        }
    }
}

/// Every member reads every acknowledged record, and the same ones.
async fn stands(run: &Run, members: &[usize], granted: &[Granted]) {
    let mut before: Option<Vec<Record>> = None;
    for machine in members.iter().map(|it| &run.machines[*it]) {
        let Some(life) = machine.life() else { continue };
        let name = &machine.name;
        let agreed = match timeout(NEVER, life.node.agreed()).await {
            Ok(Ok(agreed)) => agreed,
            Ok(Err(failure)) => {
                run.books.broken(format!("{name} does not hear what was agreed on: {failure}"));
                continue;
            }
            Err(_) => {
                run.books.broken(format!("{name} never hears what was agreed on"));
                continue;
            }
        };
        for record in granted.iter().filter_map(|it| match &it.what {
            Right::Recorded(record) => Some(record),
            Right::Claimed(_) => None,
        }) {
            if !agreed.records.contains(record) {
                run.books.broken(format!("{name} reads no {record:?}"));
            }
        }
        let first = before.get_or_insert_with(|| agreed.records.clone());
        if *first != agreed.records {
            run.books.broken(format!("{name} reads other records than the first member"));
        }
    }
}
