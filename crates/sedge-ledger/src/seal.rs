//! What a receipt is made from, and what it is held against.

use sedge_base::{ContentId, NodeId, Timestamp};
use sedge_capability::{Descriptor, Task, Usage};
use sedge_trust::Rung;
use sedge_trust::canonical::MAX_INTEGER;
use sedge_trust::receipt::{Body, Budgets, MAX_PROFILE_BYTES, Status, Used};

/// What the executor knows of a task that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The task.
    pub task: &'a Task,
    /// Its hash.
    pub task_hash: ContentId,
    /// The capability that ran it.
    pub descriptor: &'a Descriptor,
    /// SHA-256 of the output, as far as it was sent.
    pub output_hash: ContentId,
    /// How it ended.
    pub status: Status,
    /// What it used.
    pub usage: Usage,
    /// What the output's bits depend on, when they can be computed again.
    pub profile: Option<&'a str>,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// What the requester knows of a task that another node ran.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The node that was asked: the key that its connection has proven.
    pub executor: NodeId,
    /// The task as it was sent.
    pub task: &'a Task,
    /// Its hash.
    pub task_hash: ContentId,
    /// SHA-256 of the output that really arrived.
    pub output_hash: ContentId,
    /// How the executor says that it ended.
    pub status: Status,
}

/// A fact of a receipt that is not what the requester knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receipt names another {fact}")]
pub struct Mismatch {
    /// Which fact.
    pub fact: &'static str,
}

/// Numbers of a receipt stay below what JSON holds exactly; none comes near.
fn number(value: u64) -> u64 {
    value.min(MAX_INTEGER)
}

impl Facts<'_> {
    /// Returns the facts as a receipt says them.
    pub(crate) fn body(&self, place: Place) -> Body {
        let Self {
            task,
            task_hash,
            descriptor,
            output_hash,
            status,
            usage,
            profile: _,
            started,
            ended,
        } = *self;
        let profile = self.profile();
        let Place { swarm_id, executor, sequence, previous } = place;
        let budgets = task.budgets.within(descriptor.limits);
        Body {
            version: sedge_trust::receipt::Version::default(),
            swarm_id,
            task_id: task.id.clone(),
            task_hash,
            capability: task.capability.to_string(),
            artifact_hash: descriptor.content,
            input_hash: task.input_id(),
            output_hash,
            budgets: Budgets {
                fuel: number(budgets.fuel.unwrap_or(0)),
                memory_bytes: number(budgets.memory.map_or(0, sedge_base::ByteSize::as_bytes)),
                time_ms: number(budgets.time_ms.unwrap_or(0)),
            },
            used: Used {
                fuel: number(usage.fuel.unwrap_or(0)),
                peak_memory_bytes: number(
                    usage.peak_memory.map_or(0, sedge_base::ByteSize::as_bytes),
                ),
                time_ms: number(usage.took_us.div_ceil(1000)),
                tokens_in: usage.prompt_tokens.unwrap_or(0).into(),
                tokens_out: usage.completion_tokens.unwrap_or(0).into(),
            },
            status,
            rung: match (descriptor.rung, profile) {
                (Rung::BitReplayable, None) => Rung::Attested,
                (rung, _) => rung,
            },
            executor,
            requester: task.requester,
            started_ms: started.as_millis(),
            ended_ms: ended.as_millis().max(started.as_millis()),
            sequence,
            previous,
            profile: profile.map(str::to_owned),
        }
    }

    /// Returns the profile of an answer that is whole, if this capability's answers can be computed
    /// again at all.
    fn profile(&self) -> Option<&str> {
        let able = self.descriptor.rung == Rung::BitReplayable && self.status == Status::Success;
        let fits = |it: &&str| (1..=MAX_PROFILE_BYTES).contains(&it.len());
        self.profile.filter(|_| able).filter(fits)
    }
}

/// Where the next receipt goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) swarm_id: sedge_base::SwarmId,
    pub(crate) executor: NodeId,
    pub(crate) sequence: u64,
    pub(crate) previous: Option<ContentId>,
}

impl Expected<'_> {
    /// Holds a receipt against what this node knows itself.
    pub(crate) fn hold(&self, body: &Body, me: NodeId) -> Result<(), Mismatch> {
        let Self { executor, task, task_hash, output_hash, status } = *self;
        let facts = [
            ("executor", body.executor == executor),
            ("requester", body.requester == me && task.requester == me),
            ("task", body.task_id == task.id && body.task_hash == task_hash),
            ("capability", body.capability == task.capability.as_str()),
            ("input", body.input_hash == task.input_id()),
            ("output", body.output_hash == output_hash),
            ("status", body.status == status),
        ];
        match facts.into_iter().find(|(_, holds)| !holds) {
            Some((fact, _)) => Err(Mismatch { fact }),
            None => Ok(()),
        }
    }
}
