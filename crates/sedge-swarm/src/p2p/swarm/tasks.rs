//! Tasks over the swarm: submitted, claimed, run, and proven by a receipt.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Cancel, ContentId, ErrorKind};
use sedge_trust::RandomError;
use sedge_trust::registration::VerifyFromError;
use tokio::time::{Instant, timeout};

use super::super::envelope::{
    Receipt, Signed, TaskClaim, TaskEnvelope, TaskReceipt, TaskStatus, WrongHash,
};
use super::super::node::{Node, State};
use super::super::tasks::{ClaimError, Execution, Hashes, TaskExecutor, Work};
use super::publish::{PublishError, topic};
use super::{P2PSwarmV2, artifacts};

/// Why a task was not submitted. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Its fields were changed after it was made.
    #[error(transparent)]
    Hash(#[from] WrongHash),
    /// Its id is taken, a text is too long, or too many tasks wait.
    #[error("the task's id is taken, a text in it is too long, or too many tasks wait")]
    NotHeld,
    /// It could not be sent.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl SubmitError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Hash(err) => err.kind(),
            Self::NotHeld => ErrorKind::Conflict,
            Self::Publish(err) => err.kind(),
        }
    }
}

/// Why a receipt does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// There was no randomness to make keys of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Its executor is unknown or did not sign it.
    #[error(transparent)]
    Executor(#[from] VerifyFromError),
    /// It is about another task than the one with its id, or about one that is not known here.
    #[error("the receipt is not about a task that is known here, or not by who claimed it")]
    OtherTask,
}

impl ReceiptError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::Executor(err) => err.kind(),
            Self::OtherTask => ErrorKind::Denied,
        }
    }
}

impl P2PSwarmV2 {
    /// Says who runs tasks here; from now on this agent claims what others want done.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when there was no randomness to make keys of.
    pub fn set_executor(&self, executor: Arc<dyn TaskExecutor>) -> Result<(), RandomError> {
        let node = self.node()?;
        node.state().executor = Some(executor);
        begin(node);
        Ok(())
    }

    /// Tells every linked member that a task is to be done, and returns its id.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], which says why nothing was sent.
    pub fn submit_task(&self, task: TaskEnvelope) -> Result<String, SubmitError> {
        task.check()?;
        let node = self.node().map_err(PublishError::from)?;
        if node.state().connection.is_none() {
            return Err(PublishError::NotConnected.into());
        }
        let id = task.task_id.clone();
        if !node.state().tasks.hold(task.clone(), node.clock.now()) {
            return Err(SubmitError::NotHeld);
        }
        node.send_json(None, topic::TASKS, &task)?;
        Ok(id)
    }

    /// Takes a task to run it here, and tells the others. A claim holds for five seconds; then
    /// others may claim the task again.
    ///
    /// # Errors
    ///
    /// [`ClaimError`], which says why not.
    pub fn claim_task(&self, task_id: &str) -> Result<TaskClaim, ClaimError> {
        claim(self.node().map_err(PublishError::from)?, task_id)
    }

    /// Signs what became of a task that this agent ran: `memory_peak_mb` in MiB, the hashes as
    /// SHA-256. It ended now and started `execution_ms` ago.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when there was no randomness to make keys of.
    #[expect(clippy::too_many_arguments, reason = "the older API's order, which documents use")]
    pub fn create_receipt(
        &self,
        task: &TaskEnvelope,
        result_cid: String,
        status: TaskStatus,
        fuel_used: u64,
        memory_peak_mb: u64,
        execution_ms: u64,
        input_hash: [u8; 32],
        output_hash: [u8; 32],
        module_hash: [u8; 32],
    ) -> Result<TaskReceipt, RandomError> {
        let hashes = Hashes {
            input: ContentId::from_bytes(input_hash),
            output: ContentId::from_bytes(output_hash),
            module: ContentId::from_bytes(module_hash),
        };
        let execution = Execution { status, output: Vec::new(), fuel_used, memory_peak_mb };
        Ok(receipt(self.node()?, task, result_cid, (&execution, execution_ms), hashes))
    }

    /// Sends a receipt to every linked member.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which says why nothing was sent.
    pub fn publish_receipt(&self, receipt: &TaskReceipt) -> Result<String, PublishError> {
        let node = self.node()?;
        if let Some(held) = node.state().tasks.get_mut(&receipt.record.task_id) {
            held.receipt = Some(receipt.clone());
        }
        node.tell_change();
        node.send_json(None, topic::RECEIPTS, receipt)
    }

    /// Checks a receipt: signed by the registered executor over all 17 fields, about exactly the
    /// task that is known here under its id, by who claimed that task.
    ///
    /// # Errors
    ///
    /// [`ReceiptError`], which says why it does not hold.
    pub fn verify_receipt(&self, receipt: &TaskReceipt) -> Result<(), ReceiptError> {
        verify(&self.node()?.state(), receipt)
    }

    /// Waits for the verified receipt of a task, `within` long at most.
    pub async fn wait_receipt(&self, task_id: &str, within: Duration) -> Option<TaskReceipt> {
        let done = |state: &mut State| state.tasks.get(task_id)?.receipt.clone();
        self.node().ok()?.until(within, done).await
    }

    /// Waits until a task is known here, such as one of another member.
    pub async fn wait_task(&self, task_id: &str, within: Duration) -> Option<TaskEnvelope> {
        let known = |state: &mut State| Some(state.tasks.get(task_id)?.task.clone());
        self.node().ok()?.until(within, known).await
    }
}

fn claim(node: &Arc<Node>, task_id: &str) -> Result<TaskClaim, ClaimError> {
    let claim = node.state().tasks.claim(task_id, &node.agent_id, node.clock.now())?;
    let claim = Signed::sign(claim, &node.identity);
    node.send_json(None, topic::CLAIMS, &claim)?;
    Ok(claim)
}

fn receipt(
    node: &Node,
    task: &TaskEnvelope,
    result_cid: String,
    (execution, execution_ms): (&Execution, u64),
    hashes: Hashes,
) -> TaskReceipt {
    let end = node.clock.now().as_millis();
    let receipt = Receipt {
        task_id: task.task_id.clone(),
        executor: node.agent_id.clone(),
        result_cid,
        status: execution.status,
        fuel_used: execution.fuel_used,
        memory_peak_mb: execution.memory_peak_mb,
        execution_ms,
        input_hash: hashes.input,
        output_hash: hashes.output,
        module_hash: hashes.module,
        start_timestamp: end.saturating_sub(execution_ms),
        end_timestamp: end,
        module_cid: task.module_cid.clone(),
        input_cid: task.input_cid.clone(),
        entrypoint: task.entrypoint.clone(),
        output_schema_hash: task.output_schema_hash,
        task_envelope_hash: *task.envelope_hash(),
    };
    Signed::sign(receipt, &node.identity)
}

fn verify(state: &State, receipt: &TaskReceipt) -> Result<(), ReceiptError> {
    receipt.verify(&state.registry)?;
    let held = state.tasks.get(&receipt.record.task_id).filter(|it| it.fits(receipt));
    held.map(|_| ()).ok_or(ReceiptError::OtherTask)
}

/// Holds a member's task, and begins to run it if there is an executor.
pub(super) fn heard_task(
    node: &Arc<Node>,
    from: &str,
    task: TaskEnvelope,
) -> Result<(), &'static str> {
    if task.check().is_err() || task.requester != from {
        return Err("a task with another hash, or of somebody else");
    }
    let now = node.clock.now();
    if task.deadline <= now || !node.state().tasks.hold(task, now) {
        return Err("a task that is late or cannot be held");
    }
    node.tell_change();
    begin(node);
    Ok(())
}

/// Records a member's claim.
pub(super) fn heard_claim(node: &Node, from: &str, claim: TaskClaim) -> Result<(), &'static str> {
    let mut state = node.state();
    if claim.record.executor_id != from || claim.verify(&state.registry).is_err() {
        return Err("a claim of somebody else");
    }
    state.tasks.heard_claim(claim.record);
    drop(state);
    node.tell_change();
    Ok(())
}

/// Records a member's receipt, once it was verified.
pub(super) fn heard_receipt(
    node: &Node,
    from: &str,
    receipt: TaskReceipt,
) -> Result<(), &'static str> {
    let mut state = node.state();
    if receipt.record.executor != from || verify(&state, &receipt).is_err() {
        return Err("a receipt that does not hold");
    }
    let Some(held) = state.tasks.get_mut(&receipt.record.task_id) else { return Ok(()) };
    held.receipt.get_or_insert(receipt);
    drop(state);
    node.tell_change();
    Ok(())
}

/// Runs waiting tasks, as many at once as may run.
fn begin(node: &Arc<Node>) {
    loop {
        let mut state = node.state();
        let state = &mut *state;
        let Some(scope) = state.connection.as_ref().map(|it| it.scope.clone()) else { return };
        let Some(executor) = state.executor.clone() else { return };
        if state.running >= node.max_running {
            return;
        }
        let own = node.agent_id.as_str();
        let Some(task) = state.tasks.next(node.clock.now(), own) else { return };
        // Claimed under the same lock, so that it is not found again; told to the others below.
        let Ok(claimed) = state.tasks.claim(&task.task_id, own, node.clock.now()) else { return };
        state.running += 1;
        let here = Arc::clone(node);
        scope.spawn("swarm task", |cancel| async move {
            let claim = Signed::sign(claimed, &here.identity);
            run(&here, executor, &task, &claim, cancel).await;
            here.state().running -= 1;
            begin_again(&here);
        });
    }
}

/// [`begin`] from its own end, where the compiler cannot see that this is no recursion of types.
fn begin_again(node: &Arc<Node>) {
    begin(node);
}

async fn run(
    node: &Arc<Node>,
    executor: Arc<dyn TaskExecutor>,
    task: &TaskEnvelope,
    claim: &TaskClaim,
    cancel: Cancel,
) {
    let work = async {
        let requester = task.requester.as_str();
        let module = artifacts::fetch(node, requester, &task.module_cid).await?;
        let input = artifacts::fetch(node, requester, &task.input_cid).await?;
        Ok::<_, artifacts::FetchError>(Work { task: task.clone(), module, input })
    };
    let work = tokio::select! {
        biased;
        () = cancel.cancelled() => return,
        work = work => work,
    };
    let peer = node.identity.node_id();
    let work = match work {
        Ok(work) => work,
        // Nobody was told of the claim: others may run the task.
        Err(err) => return node.refuse(&peer, &err),
    };
    if let Err(err) = node.send_json(None, topic::CLAIMS, claim) {
        return node.refuse(&peer, &err);
    }
    let (input, module) = (ContentId::of(&work.input), ContentId::of(&work.module));
    let started = Instant::now();
    let budget = Duration::from_millis(task.budgets.timeout_ms);
    let running = timeout(budget, executor.execute(work));
    let execution = tokio::select! {
        biased;
        () = cancel.cancelled() => return,
        execution = running => execution.unwrap_or_else(|_| out_of_time()),
    };
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let output = ContentId::of(&execution.output);
    let stored = node.state().store.store(&execution.output, true);
    let result_cid = stored.unwrap_or_default();
    let hashes = Hashes { input, output, module };
    let receipt = receipt(node, task, result_cid, (&execution, took_ms), hashes);
    if let Some(held) = node.state().tasks.get_mut(&task.task_id) {
        held.receipt = Some(receipt.clone());
    }
    node.tell_change();
    if let Err(err) = node.send_json(None, topic::RECEIPTS, &receipt) {
        node.refuse(&peer, &err);
    }
}

fn out_of_time() -> Execution {
    let (status, output) = (TaskStatus::Timeout, Vec::new());
    Execution { status, output, fuel_used: 0, memory_peak_mb: 0 }
}
