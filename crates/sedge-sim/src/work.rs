//! Those who ask: each lives on the machine that it asks, and dies with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sedge_base::ErrorKind;
use sedge_capability::{Budgets, Failure, Media, Name};
use sedge_node::{Ask, Deploy, DeployOptions, Node, Target, Whereabouts};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::books::{Books, DeployNote, TaskEnd, TaskNote};
use crate::engine::SCRIPT;
use crate::machine::{Life, Machine};
use crate::plan::{IDEMPOTENT, Pass, TaskWork};

/// Long past every deadline of a node: what takes this long never ends.
pub(crate) const NEVER: Duration = Duration::from_secs(100);
/// How long an invitation is open.
const INVITED_FOR: Duration = Duration::from_secs(30);

/// The tokens of a run, as text.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) revocable: String,
    pub(crate) counted: String,
}

/// Notes a failure's kind; every failure must have one that a caller can act on.
pub(crate) fn judge(books: &Books, what: &str, failure: &Failure) {
    if failure.kind == ErrorKind::Internal {
        books.broken(format!("{what} failed inside: {} ({})", failure.message, failure.code));
    }
}

/// Returns a failure as one word.
pub(crate) fn word(failure: &Failure) -> String {
    format!("{:?}/{}", failure.kind, failure.code)
}

/// Asks for a task and notes what came of it.
pub(crate) fn ask(books: &Books, life: &Life, names: &[String], work: TaskWork, tokens: &Tokens) {
    let index = {
        let mut pages = books.pages();
        pages.tasks.push(TaskNote { work: work.clone(), end: None });
        pages.tasks.len() - 1
    };
    let (books, node) = (books.clone(), Arc::clone(&life.node));
    let (names, tokens) = (names.to_vec(), tokens.clone());
    life.scope.spawn("asker", async move |_| {
        let tag = work.script.tag;
        let _begun = books.open(format!("task {tag} asked on {}", names[work.on]));
        let began = Instant::now();
        let asked = timeout(NEVER, run(&node, &names, &work, &tokens)).await;
        let Ok((receipt, node_name, result)) = asked else {
            return books.broken(format!("task {tag} never ended"));
        };
        let took = began.elapsed();
        let failure = match result {
            Ok(output) if output == work.script.output() => None,
            Ok(output) => {
                let output = String::from_utf8_lossy(&output).into_owned();
                books.broken(format!("task {tag} has the output {output}"));
                None
            }
            Err(failure) => Some(failure),
        };
        if let Some(failure) = &failure {
            judge(&books, &format!("task {tag}"), failure);
        } else if receipt.is_none() {
            books.broken(format!("task {tag} succeeded without a receipt"));
        }
        let end = failure.as_ref().map_or_else(|| "done".to_owned(), word);
        let (on, millis) = (&names[work.on], took.as_millis());
        books.say(format!("task {tag} asked on {on}: {end} by {node_name} in {millis} ms"));
        let end = TaskEnd { took, receipt, failure };
        books.pages().tasks[index].end = Some(end);
    });
}

type Receipted = Option<(sedge_base::NodeId, sedge_base::ContentId)>;

async fn run(
    node: &Arc<Node>,
    names: &[String],
    work: &TaskWork,
    tokens: &Tokens,
) -> (Receipted, String, Result<Vec<u8>, Failure>) {
    let nobody = |failure| (None, "nobody".to_owned(), Err(failure));
    let pass = match work.token {
        None => None,
        Some(Pass::Revocable) => Some(node.open_token(&tokens.revocable)),
        Some(Pass::Counted) => Some(node.open_token(&tokens.counted)),
    };
    let pass = match pass.transpose() {
        Ok(pass) => pass,
        Err(failure) => return nobody(failure),
    };
    let capability: Name = match work.function.parse() {
        Ok(name) => name,
        Err(error) => return nobody(Failure::new(ErrorKind::Invalid, "bad_name", error)),
    };
    let ask = Ask {
        capability,
        kind: None,
        input: work.script.input(),
        media: Media::Plain,
        budgets: Budgets::default(),
        on: work.pin.map(|it| names[it].clone()),
        pass,
    };
    let answer = match node.run(ask).await {
        Ok(answer) => answer,
        Err(failure) => return nobody(failure),
    };
    let (executor, name) = (answer.node, answer.node_name.clone());
    let (output, end) = answer.outcome.collect().await;
    let receipt = end.receipt.as_ref().and_then(|it| it.id().ok()).map(|id| (executor, id));
    (receipt, name, end.failure.map_or(Ok(output), Err))
}

/// Returns the bytes of a function.
pub(crate) fn wasm(name: &str) -> Bytes {
    let mut wasm = SCRIPT.to_vec();
    wasm.extend_from_slice(name.as_bytes());
    wasm.into()
}

/// Deploys a function; what was acknowledged is noted.
pub(crate) async fn deploy(books: &Books, node: &Arc<Node>, name: &str, target: Target) {
    let began = Instant::now();
    let _begun = books.open(format!("deployment of {name}"));
    let parsed: Name = match name.parse() {
        Ok(parsed) => parsed,
        Err(error) => return books.broken(format!("{name}: {error}")),
    };
    let options = DeployOptions { idempotent: name == IDEMPOTENT, ..DeployOptions::default() };
    let deploy = Deploy { name: parsed, wasm: wasm(name), target, options };
    let Ok(deployed) = timeout(NEVER * 2, node.deploy(deploy)).await else {
        return books.broken(format!("the deployment of {name} never ended"));
    };
    let reports = match deployed {
        Ok(reports) => reports,
        Err(failure) => {
            judge(books, name, &failure);
            return books.say(format!("{name} not deployed: {}", word(&failure)));
        }
    };
    let millis = began.elapsed().as_millis();
    for report in reports {
        let on = format!("{} after {millis} ms", report.node_name);
        match (report.content, report.failure) {
            (Some(content), _) => {
                books.say(format!("{name} deployed on {on}"));
                let note = DeployNote { machine: report.node, name: name.to_owned(), content };
                books.pages().deployed.push(note);
            }
            (None, Some(failure)) => {
                judge(books, name, &failure);
                books.say(format!("{name} not deployed on {on}: {}", word(&failure)));
            }
            (None, None) if report.skipped => books.say(format!("{name} skipped {on}")),
            (None, None) => books.broken(format!("{name} on {on}: neither deployed nor failed")),
        }
    }
}

/// Lets the owner take a membership back. Whoever was told, as the owner says, lets nobody in with
/// it from that moment on: `admits` says whether a machine of that name does.
pub(crate) fn revoke(
    books: &Books,
    owner: &Life,
    who: &Machine,
    admits: impl Fn(&str) -> Option<bool> + Send + 'static,
) {
    let (books, node) = (books.clone(), Arc::clone(&owner.node));
    let (index, name) = (who.index, who.name.clone());
    {
        let mut pages = books.pages();
        pages.uncertain.push(index);
        pages.revocations += 1;
        pages.readmitted.retain(|it| *it != index);
    }
    owner.scope.spawn("revoker", async move |_| {
        let _begun = books.open(format!("revocation of {name}"));
        match timeout(NEVER, node.revoke(&name)).await {
            Ok(Ok(view)) => {
                books.say(format!(
                    "{name} revoked; told {:?}, not yet {:?}",
                    view.told, view.not_yet
                ));
                let alone = books.pages().uncertain.iter().filter(|it| **it == index).count() == 1;
                let joined = books.pages().readmitted.contains(&index);
                let admitting: Vec<_> =
                    view.told.iter().filter(|it| admits(it) == Some(true)).collect();
                if alone && !joined && !admitting.is_empty() {
                    books.broken(format!("{admitting:?} were told and let {name} in"));
                }
                let mut pages = books.pages();
                // It may have joined meanwhile, before or after: then nobody can say.
                if !pages.readmitted.contains(&index) {
                    pages.settle(index);
                    pages.revoked.push(index);
                }
            }
            Ok(Err(failure)) => {
                judge(&books, "the revocation", &failure);
                books.say(format!("{name} not revoked: {}", word(&failure)));
            }
            Err(_) => books.broken("a revocation never ended"),
        }
    });
}

/// Lets the owner take the revocable token back.
pub(crate) fn revoke_token(books: &Books, owner: &Life, tokens: &Tokens) {
    let (books, node) = (books.clone(), Arc::clone(&owner.node));
    let text = tokens.revocable.clone();
    owner.scope.spawn("token revoker", async move |_| {
        let _begun = books.open("revocation of the token");
        let Some(id) = sedge_trust::Token::parse(&text).ok().and_then(|it| it.id()) else {
            return books.broken("the token has no id");
        };
        match timeout(NEVER, node.revoke_token(id)).await {
            Ok(Ok(view)) => {
                books.say(format!(
                    "token revoked; told {:?}, not yet {:?}",
                    view.told, view.not_yet
                ));
                books.pages().token_revoked = true;
            }
            Ok(Err(failure)) => {
                judge(&books, "the revocation of the token", &failure);
                books.say(format!("token not revoked: {}", word(&failure)));
            }
            Err(_) => books.broken("a revocation of a token never ended"),
        }
    });
}

/// Lets the owner invite and a machine join: two people, each at one machine, and a code between.
pub(crate) fn admit(books: &Books, owner: (&Life, &Machine), joiner: (&Life, &Machine)) {
    let (tell, told) = oneshot::channel();
    let inviting = (books.clone(), Arc::clone(&owner.0.node));
    owner.0.scope.spawn("inviter", async move |_| {
        let (books, node) = inviting;
        let _begun = books.open("invitation");
        match timeout(NEVER, node.invite(INVITED_FOR)).await {
            // A joiner that lost its power hears no code.
            Ok(Ok(invitation)) => drop(tell.send(invitation.code)),
            Ok(Err(failure)) => {
                judge(&books, "the invitation", &failure);
                books.say(format!("not invited: {}", word(&failure)));
            }
            Err(_) => books.broken("an invitation never ended"),
        }
    });
    let joining = (books.clone(), Arc::clone(&joiner.0.node));
    let (index, name, at) = (joiner.1.index, joiner.1.name.clone(), owner.1.id.to_string());
    joiner.0.scope.spawn("joiner", async move |_| {
        let (books, node) = joining;
        // Nobody invited: the owner lost its power.
        let Ok(code) = told.await else { return };
        let _begun = books.open(format!("{name} joining"));
        let before = {
            let mut pages = books.pages();
            pages.uncertain.push(index);
            pages.revocations
        };
        match timeout(NEVER, node.join(&code, Whereabouts { at: Some(at), relay: None })).await {
            Ok(Ok(joined)) => {
                books.say(format!("{name} joined {}", joined.inviter_name));
                let mut pages = books.pages();
                pages.revoked.retain(|it| *it != index);
                pages.readmitted.push(index);
                if before == pages.revocations {
                    pages.settle(index);
                }
            }
            Ok(Err(failed)) => {
                judge(&books, "joining", &failed.failure);
                books.say(format!("{name} not joined: {}", word(&failed.failure)));
                // Refused before anything was asked: things are as they were.
                if failed.failure.kind == ErrorKind::Conflict {
                    books.pages().settle(index);
                }
            }
            Err(_) => books.broken("joining never ended"),
        }
    });
}
