//! What must hold after a run, whatever went wrong in it.

use std::collections::BTreeSet;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::{Budgets, Media};
use sedge_node::{Ask, Node, Presence};
use sedge_trust::receipt::verify_chain;

use crate::books::TaskNote;
use crate::engine::Script;
use crate::machine::Machine;
use crate::plan::{CALLS, ONCE, Pass};
use crate::quorum;
use crate::run::Run;

/// How long a task may take from the question to the end: its own limit, the way, and slow disks.
const LONGEST: Duration = Duration::from_secs(8 + 2 + 4);
/// More receipts than a run makes.
const MANY: usize = 10_000;
/// The number of the first task that the checks themselves ask for.
const PROBE: u32 = 1_000_000;
/// How much a node may hold at most for every machine of a run, in connections.
const CONNECTIONS: usize = 4;

/// Holds the nodes to their books.
pub(crate) async fn check(run: &Run) {
    let members = members(run).await;
    ended(run);
    once(run);
    tokens(run);
    excluded(run, &members);
    receipts(run).await;
    deployments(run);
    for &member in &members {
        chain(run, &run.machines[member]).await;
    }
    works(run, &members).await;
    if run.quorum {
        quorum::check(run, &members).await;
    }
    let (have, most) = (run.net.connections(), CONNECTIONS * run.machines.len().pow(2));
    if have > most {
        run.books.broken(format!("{have} connections for {} machines", run.machines.len()));
    }
}

fn node(machine: &Machine) -> Option<&Node> {
    machine.life().map(|it| it.node.as_ref())
}

/// Returns who belongs to the swarm, as the owner sees it; everybody in it must agree.
async fn members(run: &Run) -> Vec<usize> {
    let index = |id: NodeId| run.machines.iter().position(|it| it.id == id);
    let list = |node: &Node| -> BTreeSet<usize> {
        node.nodes().into_iter().filter_map(|it| index(it.id)).collect()
    };
    let Some(owner) = node(&run.machines[0]) else {
        run.books.broken("the owner's machine is off");
        return Vec::new();
    };
    let all = list(owner);
    let (revoked, readmitted, uncertain) = {
        let pages = run.books.pages();
        (pages.revoked.clone(), pages.readmitted.clone(), pages.uncertain.clone())
    };
    for machine in &run.machines {
        let (at, name) = (machine.index, &machine.name);
        if uncertain.contains(&at) {
            continue;
        }
        let belongs = all.contains(&at);
        if belongs == revoked.contains(&at) {
            run.books.broken(format!("{name} is listed: {belongs}; revoked: {}", !belongs));
        }
        if readmitted.contains(&at) && !belongs {
            run.books.broken(format!("{name} joined again and is not listed"));
        }
    }
    let sure: Vec<usize> =
        all.iter().copied().filter(|it| !uncertain.contains(it) && !run.is_hostile(*it)).collect();
    for &member in &sure {
        let machine = &run.machines[member];
        let Some(node) = node(machine) else {
            run.books.broken(format!("{} is off", machine.name));
            continue;
        };
        let seen = list(node);
        if seen != all {
            run.books.broken(format!("{} lists {seen:?}, the owner {all:?}", machine.name));
        }
        for view in node.nodes() {
            let other = index(view.id);
            let there = other.is_some_and(|it| sure.contains(&it));
            if there && view.status != Presence::Online {
                let (name, other, why) = (&machine.name, &view.name, view.reason);
                run.books.broken(format!("{name} does not reach {other}: {why:?}"));
            }
        }
        let status = node.status().await;
        if !status.two_histories.is_empty() {
            let (name, who) = (&machine.name, status.two_histories);
            run.books.broken(format!("{name} says that {who:?} tell two histories"));
        }
        if status.running > 0 {
            let (name, count) = (&machine.name, status.running);
            run.books.broken(format!("{name} has {count} tasks in flight, and nobody asks"));
        }
    }
    sure
}

/// Everything that was begun has ended, in time.
fn ended(run: &Run) {
    let open: Vec<_> = run.books.pages().open.iter().map(|it| it.1.clone()).collect();
    for what in open {
        run.books.broken(format!("{what} has not ended"));
    }
    let tasks = run.books.pages().tasks.clone();
    for TaskNote { work, end } in &tasks {
        if let Some(end) = end.as_ref().filter(|it| it.took > LONGEST) {
            run.books.broken(format!("task {} took {:?}", work.script.tag, end.took));
        }
    }
}

/// What may run once only was begun once at most.
fn once(run: &Run) {
    let tasks = run.books.pages().tasks.clone();
    for TaskNote { work, .. } in tasks.iter().filter(|it| it.work.function == ONCE) {
        let ran = run.ran.of(work.script.tag);
        if ran.len() > 1 {
            run.books.broken(format!("task {} ran on {ran:?}", work.script.tag));
        }
    }
}

/// No machine ran more with the counted token than it is good for; the revoked one is refused.
fn tokens(run: &Run) {
    let tasks = run.books.pages().tasks.clone();
    for machine in &run.machines {
        let counted = tasks.iter().filter(|it| it.work.token == Some(Pass::Counted));
        let here = |note: &TaskNote| {
            run.ran.of(note.work.script.tag).iter().filter(|it| **it == machine.index).count()
        };
        let ran: usize = counted.map(here).sum();
        if ran as u64 > CALLS {
            run.books.broken(format!("{} ran {ran} calls of a token for {CALLS}", machine.name));
        }
    }
    if !run.books.pages().token_revoked {
        return;
    }
    let uncertain = run.books.pages().uncertain.clone();
    let revoked = run.books.pages().revoked.clone();
    for machine in &run.machines {
        let out = uncertain.contains(&machine.index) || revoked.contains(&machine.index);
        let Some(node) = node(machine).filter(|_| !out) else { continue };
        if node.open_token(&run.tokens.revocable).is_ok() {
            run.books.broken(format!("{} takes the revoked token", machine.name));
        }
    }
}

/// Whoever was revoked is let in by nobody.
fn excluded(run: &Run, members: &[usize]) {
    let (revoked, uncertain) = {
        let pages = run.books.pages();
        (pages.revoked.clone(), pages.uncertain.clone())
    };
    for out in revoked.iter().filter(|it| !uncertain.contains(it)) {
        for &member in members {
            let (member, out) = (&run.machines[member], &run.machines[*out]);
            if run.net.admits(member.id, out.id) == Some(true) {
                run.books.broken(format!("{} lets the revoked {} in", member.name, out.name));
            }
        }
    }
}

/// The receipt of every answer is where it was promised: with who asked and with who ran it.
async fn receipts(run: &Run) {
    let tasks = run.books.pages().tasks.clone();
    for TaskNote { work, end } in &tasks {
        let Some((executor, receipt)) = end.as_ref().and_then(|it| it.receipt) else { continue };
        let tag = work.script.tag;
        for machine in &run.machines {
            let concerned = machine.index == work.on || machine.id == executor;
            let Some(node) = node(machine).filter(|_| concerned) else { continue };
            match node.ledger().get(&receipt).await {
                Ok(Some(kept)) if kept.body.executor == executor => {}
                other => {
                    let name = &machine.name;
                    run.books.broken(format!("{name} has no receipt of task {tag}: {other:?}"));
                }
            }
        }
        let known = run.machines.iter().any(|it| it.id == executor);
        let hostile = run.machines.iter().any(|it| it.id == executor && run.is_hostile(it.index));
        let ran = !run.ran.of(tag).is_empty();
        let succeeded = end.as_ref().is_some_and(|it| it.failure.is_none());
        if !known || (succeeded && !ran) || (succeeded && hostile) {
            run.books.broken(format!("task {tag} has an answer of a machine that did not run it"));
        }
    }
}

/// Every acknowledged deployment is offered still.
fn deployments(run: &Run) {
    let deployed = run.books.pages().deployed.clone();
    for note in deployed {
        let Some(machine) = run.machines.iter().find(|it| it.id == note.machine) else { continue };
        let Some(node) = node(machine) else { continue };
        let offered = node.offers().into_iter().any(|it| {
            it.node == note.machine
                && it.descriptor.name.as_str() == note.name
                && it.descriptor.content == Some(note.content)
        });
        if !offered {
            run.books.broken(format!("{} lost {}", machine.name, note.name));
        }
    }
}

/// The node's chain of receipts verifies from its first to its last.
async fn chain(run: &Run, machine: &Machine) {
    let Some(node) = node(machine) else { return };
    match node.ledger().chain(0, MANY).await {
        Ok(chain) => {
            if let Err(error) = verify_chain(&chain, machine.id, |_| true, None) {
                run.books.broken(format!("the chain of {}: {error}", machine.name));
            }
        }
        Err(error) => run.books.broken(format!("the chain of {}: {error}", machine.name)),
    }
}

/// Every member runs a task for every other one.
async fn works(run: &Run, members: &[usize]) {
    let mut tag = PROBE;
    for &on in members {
        for &pin in members {
            tag += 1;
            let Some(life) = run.machines[on].life() else { continue };
            let takes = Duration::from_millis(1);
            let script = Script { tag, takes, chunks: 1, fails: false };
            let Ok(capability) = ONCE.parse() else { continue };
            let ask = Ask {
                capability,
                kind: None,
                input: script.input(),
                media: Media::Plain,
                budgets: Budgets::default(),
                on: Some(run.names[pin].clone()),
                pass: None,
            };
            let id = run.machines[pin].id;
            let has = node(&run.machines[pin]).is_some_and(|node| {
                let offers = node.offers();
                offers.iter().any(|it| it.node == id && it.descriptor.name.as_str() == ONCE)
            });
            let failure = match life.node.run(ask).await {
                Ok(answer) => {
                    let (output, end) = answer.outcome.collect().await;
                    let right = output == script.output();
                    end.failure.or_else(|| {
                        let text = "a wrong output";
                        (!right)
                            .then(|| sedge_capability::Failure::new(ErrorKind::Corrupt, "x", text))
                    })
                }
                Err(failure) => Some(failure),
            };
            if let Some(failure) = failure.filter(|_| has) {
                let (on, pin) = (&run.names[on], &run.names[pin]);
                run.books.broken(format!("{on} cannot run a task on {pin}: {failure}"));
            }
        }
    }
}
