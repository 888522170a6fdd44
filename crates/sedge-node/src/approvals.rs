//! What people are asked before a tool runs, and what they say: on disk, bounded, for a few minutes.
//!
//! A node never says yes itself: what lets a tool run is a person's signature, which the node checks
//! here and the edge checks again. A caller that leaves before the answer may ask the same again and
//! finds its question, or the answer, as it stands. One answer lets one run happen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Timestamp};
use sedge_capability::Failure;
use sedge_edges::Wish;
use sedge_store::{AskError, StoredApproval};
use sedge_trust::approval::{APPROVAL_LIFE, Approval, Decision, Question};
use sedge_trust::{Nonce, random_bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::node::{Node, internal, unwritten, with_source};

/// The most questions and answers that are kept at once.
const MOST: u32 = 64;

/// Wishes that may wait to be read; reading one is a write to the store.
pub(crate) const WISHES: usize = 64;

const PENDING: &str = "pending";
const GRANTED: &str = "granted";
const REFUSED: &str = "refused";
const USED: &str = "used";

/// Who waits for an answer, by the question's nonce.
type Waiting = HashMap<Nonce, oneshot::Sender<Approval>>;

/// The questions of this node.
#[derive(Debug)]
pub(crate) struct Approvals {
    /// Held while a question or an answer is put in its place.
    waiting: Mutex<Waiting>,
    /// Taken once, by whoever reads it.
    wishes: std::sync::Mutex<Option<mpsc::Receiver<Wish>>>,
}

/// One question, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    question: Question,
    arguments: String,
    approval: Option<Approval>,
}

/// One question to people, as doors show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// What it is known by: the nonce of the question.
    pub id: Nonce,
    /// `pending`, `granted`, `refused`, or `used` when what was granted has run.
    pub state: String,
    /// What was asked; an answer signs all of it.
    pub question: Question,
    /// The arguments, whose hash is in the question.
    pub arguments: Value,
    /// The name of the node that was asked to run it.
    pub asked_by_name: String,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When the question, or the answer, is over.
    pub ends: Timestamp,
    /// Whether somebody waits for the answer now.
    pub waiting: bool,
    /// The public key of whoever answered.
    pub approver: Option<NodeId>,
    /// When it was answered, by the approver's clock.
    pub decided_at: Option<Timestamp>,
}

impl Approvals {
    pub(crate) fn new(wishes: mpsc::Receiver<Wish>) -> Self {
        let wishes = std::sync::Mutex::new(Some(wishes));
        Self { waiting: Mutex::default(), wishes }
    }
}

impl Node {
    /// Reads wishes until the node stops.
    pub(crate) fn ask_people(self: &Arc<Self>) {
        let wishes = self.desk.approvals.wishes.lock().ok().and_then(|mut it| it.take());
        let Some(mut wishes) = wishes else { return };
        let node = Arc::clone(self);
        self.scope.spawn("approvals", async move |cancel| {
            loop {
                let wish = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    wish = wishes.recv() => wish,
                };
                let Some(wish) = wish else { return };
                node.ask_person(wish).await;
            }
        });
    }

    /// Answers a wish, or puts its question where people see it and lets it wait.
    async fn ask_person(self: &Arc<Self>, wish: Wish) {
        let mut waiting = self.desk.approvals.waiting.lock().await;
        let found = match self.find_question(&wish, &waiting).await {
            Ok(found) => found,
            Err(failure) => return drop(wish.answer.send(Err(failure))),
        };
        let (sender, decided) = oneshot::channel();
        waiting.insert(found.nonce, sender);
        drop(waiting);
        let node = Arc::clone(self);
        let Asked { nonce, answer, ends } = found;
        if let Some(approval) = answer {
            return self.hand_over(nonce, approval, wish.answer).await;
        }
        let left = ends.since(self.clock.now());
        let wait = wish.wait.map_or(left, |it| it.min(left));
        let (capability, mut answer) = (wish.capability, wish.answer);
        self.scope.spawn("approval", async move |cancel| {
            let approval = tokio::select! {
                biased;
                approval = decided => approval.ok(),
                () = answer.closed() => None,
                () = cancel.cancelled() => None,
                () = tokio::time::sleep(wait) => None,
            };
            match approval {
                Some(approval) => node.hand_over(nonce, approval, answer).await,
                None => {
                    node.desk.approvals.waiting.lock().await.remove(&nonce);
                    let over = ends <= node.clock.now();
                    // A caller that left does not hear it.
                    drop(answer.send(Err(unanswered(capability.as_str(), &nonce, over))));
                }
            }
        });
    }

    /// Finds the question of a wish, and its answer if there is one, or stores a new one.
    async fn find_question(&self, wish: &Wish, waiting: &Waiting) -> Result<Asked, Failure> {
        let now = self.clock.now();
        self.sweep_approvals().await?;
        let capability = wish.capability.to_string();
        for stored in self.store.approvals().list().await.map_err(internal)? {
            let record: Record = serde_json::from_str(&stored.json).map_err(internal)?;
            let Record { question, approval, .. } = record;
            let same = question.capability == capability
                && question.arguments == wish.arguments_id
                && question.asked_by == wish.asked_by;
            let nonce = question.nonce;
            if !same || waiting.contains_key(&nonce) {
                continue;
            }
            let ends = stored.ends;
            match (stored.state.as_str(), approval) {
                (PENDING, _) => return Ok(Asked { nonce, answer: None, ends }),
                (GRANTED | REFUSED, Some(it)) => {
                    return Ok(Asked { nonce, answer: Some(it), ends });
                }
                _ => {}
            }
        }
        let random: [u8; 16] = random_bytes().map_err(internal)?;
        let nonce = Nonce::from_bytes(random);
        let question = Question {
            swarm_id: self.members.swarm(),
            runs_on: wish.edge.right(),
            capability,
            arguments: wish.arguments_id,
            asked_by: wish.asked_by,
            nonce,
        };
        let ends = now.plus(APPROVAL_LIFE);
        let record = Record { question, arguments: wish.arguments.clone(), approval: None };
        let stored = StoredApproval {
            id: nonce.to_string(),
            state: PENDING.to_owned(),
            at: now,
            ends,
            json: serde_json::to_string(&record).map_err(internal)?,
        };
        self.store.approvals().ask(stored, MOST).await.map_err(|it| match it {
            AskError::Full { .. } => Failure::new(it.kind(), "too_many_approvals", it),
            it => unwritten(it.kind(), it),
        })?;
        tracing::info!(
            target: "sedge::events::approval_asked",
            id = %nonce,
            capability = wish.capability.as_str(),
        );
        Ok(Asked { nonce, answer: None, ends })
    }

    /// Gives an answer to whoever waits for it; a yes is used up by that, on disk before it is given.
    async fn hand_over(
        &self,
        nonce: Nonce,
        approval: Approval,
        answer: oneshot::Sender<Result<Approval, Failure>>,
    ) {
        let mut waiting = self.desk.approvals.waiting.lock().await;
        waiting.remove(&nonce);
        if answer.is_closed() {
            return;
        }
        let question = &approval.facts.question;
        if approval.facts.decision == Decision::Refused {
            let text = format!("a person refused to let `{}` run", question.capability);
            let failure = Failure::new(ErrorKind::Denied, "approval_refused", text);
            return drop(answer.send(Err(failure)));
        }
        let said = self.use_up(&nonce, approval).await;
        if let Err(Ok(unread)) = answer.send(said) {
            // The caller left in this very moment: nothing ran.
            let id = unread.facts.question.nonce;
            if let Err(failure) = self.change_approval(&id, USED, GRANTED).await {
                tracing::warn!(target: "sedge::events::approval_lost", %id, %failure);
            }
        }
    }

    /// Marks a yes as used, if it still holds and its approver may still approve.
    async fn use_up(&self, nonce: &Nonce, approval: Approval) -> Result<Approval, Failure> {
        self.check_answer(&approval)?;
        if self.change_approval(nonce, GRANTED, USED).await? {
            return Ok(approval);
        }
        let text = "the approval is over, or was used meanwhile; ask again";
        Err(Failure::new(ErrorKind::Denied, "approval_expired", text))
    }

    /// Checks who signed an answer, and that nobody took their right back.
    fn check_answer(&self, approval: &Approval) -> Result<(), Failure> {
        approval
            .verify(&self.members.owner(), self.clock.now())
            .map_err(|it| Failure::new(it.kind(), "approval_not_taken", with_source(&it)))?;
        match &approval.facts.right {
            // What was taken back is known here, and not to the edge.
            Some(token) => self.access.open(token).map(drop),
            None => Ok(()),
        }
    }

    /// Moves a record from one state to another; returns whether it was in the first.
    async fn change_approval(&self, id: &Nonce, from: &str, to: &str) -> Result<bool, Failure> {
        let area = self.store.approvals();
        let Some(stored) = area.get(&id.to_string()).await.map_err(internal)? else {
            return Ok(false);
        };
        let over = stored.ends <= self.clock.now();
        let next = StoredApproval { state: to.to_owned(), ..stored };
        Ok(!over && area.change(from, next).await.map_err(|it| unwritten(it.kind(), it))?)
    }

    async fn sweep_approvals(&self) -> Result<(), Failure> {
        let over = self.store.approvals().sweep(self.clock.now()).await;
        for gone in over.map_err(|it| unwritten(it.kind(), it))? {
            if gone.state == PENDING {
                tracing::info!(target: "sedge::events::approval_expired", id = gone.id);
            }
        }
        Ok(())
    }

    /// Returns what people are asked, and what they said in the last minutes; the oldest first.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store fails.
    pub async fn approvals(&self) -> Result<Vec<ApprovalView>, Failure> {
        self.sweep_approvals().await?;
        let waiting = self.desk.approvals.waiting.lock().await;
        let all = self.store.approvals().list().await.map_err(internal)?;
        all.into_iter().map(|it| self.approval_view(it, &waiting)).collect()
    }

    fn approval_view(
        &self,
        stored: StoredApproval,
        waiting: &Waiting,
    ) -> Result<ApprovalView, Failure> {
        let Record { question, arguments, approval } =
            serde_json::from_str(&stored.json).map_err(internal)?;
        Ok(ApprovalView {
            id: question.nonce,
            state: stored.state,
            arguments: serde_json::from_str(&arguments).map_err(internal)?,
            asked_by_name: self.members.name_of(&question.asked_by),
            asked_at: stored.at,
            ends: stored.ends,
            waiting: waiting.contains_key(&question.nonce),
            approver: approval.as_ref().map(|it| it.facts.approver),
            decided_at: approval.as_ref().map(|it| it.facts.issued_at),
            question,
        })
    }

    /// Takes a person's signed answer; it is on disk, and in the audit, before anybody hears it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when nothing of the kind is asked, [`ErrorKind::Conflict`] when it was
    /// answered before, [`ErrorKind::Denied`] or [`ErrorKind::Unauthenticated`] when whoever signed
    /// it may not answer, or signed something else than was asked.
    pub async fn decide_approval(&self, approval: Approval) -> Result<ApprovalView, Failure> {
        let mut waiting = self.desk.approvals.waiting.lock().await;
        self.sweep_approvals().await?;
        let id = approval.facts.question.nonce;
        let found = self.store.approvals().get(&id.to_string()).await.map_err(internal)?;
        let stored = found.ok_or_else(|| {
            let text = format!("nobody is asked about {id}, or no longer");
            Failure::new(ErrorKind::NotFound, "no_question", text)
        })?;
        let mut record: Record = serde_json::from_str(&stored.json).map_err(internal)?;
        let facts = approval.facts.clone();
        self.check_answer(&approval)?;
        if facts.question != record.question {
            let text = "the approval is for another question than was asked";
            return Err(Failure::new(ErrorKind::Denied, "other_question", text));
        }
        let (state, kind) = match facts.decision {
            Decision::Granted => (GRANTED, "approval.granted"),
            Decision::Refused => (REFUSED, "approval.refused"),
        };
        record.approval = Some(approval.clone());
        let next = StoredApproval {
            state: state.to_owned(),
            ends: facts.expires_at,
            json: serde_json::to_string(&record).map_err(internal)?,
            ..stored
        };
        let changed = self.store.approvals().change(PENDING, next.clone()).await;
        if !changed.map_err(|it| unwritten(it.kind(), it))? {
            let text = format!("{id} was answered before");
            return Err(Failure::new(ErrorKind::Conflict, "approval_decided", text));
        }
        let detail = json!({
            "id": id,
            "capability": facts.question.capability,
            "arguments": facts.question.arguments,
            "asked_by": facts.question.asked_by,
            "signed_at": facts.issued_at,
        });
        self.audit(kind, &facts.approver, detail).await;
        let view = self.approval_view(next, &waiting)?;
        if let Some(waiter) = waiting.remove(&id) {
            // Who left may ask again and finds the answer.
            drop(waiter.send(approval));
        }
        Ok(view)
    }
}

/// A question in its place.
struct Asked {
    nonce: Nonce,
    answer: Option<Approval>,
    ends: Timestamp,
}

fn unanswered(capability: &str, nonce: &Nonce, over: bool) -> Failure {
    if over {
        let within: Duration = APPROVAL_LIFE;
        let text = format!("nobody approved `{capability}` within {within:?}");
        return Failure::new(ErrorKind::Timeout, "approval_expired", text);
    }
    let text = format!(
        "`{capability}` waits for a person's approval: `sedge approve {nonce}`, and then the same call again"
    );
    Failure::new(ErrorKind::Timeout, "approval_pending", text)
}
