//! Tasks that wait, who claimed them, and what runs them.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{ContentId, ErrorKind, Timestamp};

use super::envelope::{Claim, TaskEnvelope, TaskReceipt, TaskStatus};
use super::node::CLAIM_WINDOW;

/// The most tasks that are held at once.
pub(super) const MAX_TASKS: usize = 1024;
/// The longest text of a task, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// Why a task was not claimed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// No such task is held here.
    #[error("task not found")]
    NotFound,
    /// Somebody claimed it less than five seconds ago.
    #[error("task already claimed by {executor}")]
    Claimed {
        /// Who.
        executor: String,
    },
    /// It was done already.
    #[error("task already done by {executor}")]
    Done {
        /// By whom.
        executor: String,
    },
    /// The claim could not be told to the others.
    #[error(transparent)]
    Publish(#[from] super::PublishError),
}

impl ClaimError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Claimed { .. } | Self::Done { .. } => ErrorKind::Conflict,
            Self::Publish(err) => err.kind(),
        }
    }
}

/// One task to run, with everything that it names.
#[derive(Debug, Clone)]
pub struct Work {
    /// The task, with its budgets.
    pub task: TaskEnvelope,
    /// The module's bytes.
    pub module: Bytes,
    /// The input's bytes.
    pub input: Bytes,
}

/// What became of a task, as its executor tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub status: TaskStatus,
    /// What came out; on a failure, what there is to say about it.
    pub output: Vec<u8>,
    /// Fuel units used.
    pub fuel_used: u64,
    /// MiB of memory at the peak.
    pub memory_peak_mb: u64,
}

/// Runs tasks; called for each task that this agent claimed, several at once.
///
/// The executor holds a task to its fuel and memory; the swarm stops it when its time is over, by
/// dropping the future.
#[async_trait]
pub trait TaskExecutor: Send + Sync + fmt::Debug + 'static {
    /// Runs one task to its end.
    async fn execute(&self, work: Work) -> Execution;
}

/// A task and what is known of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task: TaskEnvelope,
    pub(super) claim: Option<Claim>,
    pub(super) receipt: Option<TaskReceipt>,
}

/// The tasks that are held, by their ids.
#[derive(Debug, Default)]
pub(super) struct Tasks(BTreeMap<String, Held>);

impl Tasks {
    /// Returns how many wait for their receipt.
    pub(super) fn pending(&self) -> usize {
        self.0.values().filter(|it| it.receipt.is_none()).count()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Held> {
        self.0.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Held> {
        self.0.get_mut(id)
    }

    /// Holds a task; `false` when its id is taken, a text is too long, its time is over, or there
    /// is no room even after those were dropped whose time is over.
    pub(super) fn hold(&mut self, task: TaskEnvelope, now: Timestamp) -> bool {
        let texts =
            [&task.task_id, &task.module_cid, &task.entrypoint, &task.input_cid, &task.requester];
        let fits = texts.into_iter().all(|it| it.len() <= MAX_TEXT_BYTES);
        if !fits || self.0.contains_key(&task.task_id) {
            return false;
        }
        if self.0.len() >= MAX_TASKS {
            self.0.retain(|_, it| it.receipt.is_none() && it.task.deadline > now);
        }
        if self.0.len() >= MAX_TASKS {
            return false;
        }
        self.0.insert(task.task_id.clone(), Held { task, claim: None, receipt: None });
        true
    }

    /// Returns the most urgent task of another agent than `own` that nobody claimed and whose time
    /// is not over.
    pub(super) fn next(&self, now: Timestamp, own: &str) -> Option<TaskEnvelope> {
        let free = self.0.values().filter(|it| {
            let open = it.receipt.is_none() && it.task.deadline > now && it.claim.is_none();
            open && it.task.requester != own
        });
        free.max_by_key(|it| it.task.priority).map(|it| it.task.clone())
    }

    /// Records that `executor` runs a task, if nobody else does.
    pub(super) fn claim(
        &mut self,
        id: &str,
        executor: &str,
        now: Timestamp,
    ) -> Result<Claim, ClaimError> {
        let held = self.0.get_mut(id).ok_or(ClaimError::NotFound)?;
        if let Some(receipt) = &held.receipt {
            return Err(ClaimError::Done { executor: receipt.record.executor.clone() });
        }
        if let Some(claim) = held.claim.as_ref().filter(|_| !held.free_at(now)) {
            return Err(ClaimError::Claimed { executor: claim.executor_id.clone() });
        }
        let (task_id, executor_id) = (id.to_owned(), executor.to_owned());
        let claim = Claim { task_id, executor_id, timestamp: now };
        held.claim = Some(claim.clone());
        Ok(claim)
    }

    /// Records another agent's claim: the earlier of two counts, then that of the smaller id; after
    /// the window, the later one.
    pub(super) fn heard_claim(&mut self, claim: Claim) {
        let Some(held) = self.0.get_mut(&claim.task_id) else { return };
        let counts = held.claim.as_ref().is_none_or(|known| {
            let earlier = (claim.timestamp, &claim.executor_id);
            earlier < (known.timestamp, &known.executor_id)
                || claim.timestamp.since(known.timestamp) >= CLAIM_WINDOW
        });
        if counts && held.receipt.is_none() {
            held.claim = Some(claim);
        }
    }
}

impl Held {
    fn free_at(&self, now: Timestamp) -> bool {
        self.claim.as_ref().is_none_or(|it| now.since(it.timestamp) >= CLAIM_WINDOW)
    }

    /// Returns whether a receipt is about exactly this task, by whoever claimed it.
    pub(super) fn fits(&self, receipt: &TaskReceipt) -> bool {
        let (task, receipt) = (&self.task, &receipt.record);
        let claimed = self.claim.as_ref().is_some_and(|it| it.executor_id == receipt.executor);
        claimed
            && receipt.task_id == task.task_id
            && receipt.task_envelope_hash == *task.envelope_hash()
            && receipt.module_cid == task.module_cid
            && receipt.input_cid == task.input_cid
            && receipt.entrypoint == task.entrypoint
            && receipt.output_schema_hash == task.output_schema_hash
    }
}

/// The three hashes of a receipt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashes {
    pub(super) input: ContentId,
    pub(super) output: ContentId,
    pub(super) module: ContentId,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::envelope::TaskBudgets;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn task(id: &str, priority: u8) -> TaskEnvelope {
        let budgets = TaskBudgets { fuel_limit: 1, memory_mb: 1, timeout_ms: 1 };
        let text = |it: &str| it.to_owned();
        let deadline = NOW.plus(Duration::from_secs(60)).as_millis();
        let (module, entry, input) = (text("local:m"), text("run"), text("local:i"));
        TaskEnvelope::new(
            text(id),
            module,
            entry,
            input,
            [0; 32],
            budgets,
            text("r"),
            deadline,
            priority,
        )
    }

    #[test]
    fn a_claim_holds_for_its_window() {
        let mut tasks = Tasks::default();
        let refused = tasks.claim("one", "a", NOW).unwrap_err();
        assert_eq!(refused.to_string(), "task not found");
        assert!(tasks.hold(task("one", 1), NOW));
        assert!(!tasks.hold(task("one", 2), NOW), "ids are not reused");
        tasks.claim("one", "a", NOW).unwrap();
        let refused = tasks.claim("one", "b", NOW.plus(CLAIM_WINDOW / 2)).unwrap_err();
        assert_eq!(refused.to_string(), "task already claimed by a");
        let claim = tasks.claim("one", "b", NOW.plus(CLAIM_WINDOW)).unwrap();
        assert_eq!(claim.executor_id, "b");
    }

    #[test]
    fn of_two_claims_at_once_the_same_one_counts_everywhere() {
        let claim = |executor: &str, ms: u64| Claim {
            task_id: "one".to_owned(),
            executor_id: executor.to_owned(),
            timestamp: NOW.plus(Duration::from_millis(ms)),
        };
        for order in [["a", "b"], ["b", "a"]] {
            let mut tasks = Tasks::default();
            tasks.hold(task("one", 1), NOW);
            for executor in order {
                tasks.heard_claim(claim(executor, 0));
            }
            assert_eq!(tasks.get("one").unwrap().claim.as_ref().unwrap().executor_id, "a");
            tasks.heard_claim(claim("b", 5000));
            assert_eq!(tasks.get("one").unwrap().claim.as_ref().unwrap().executor_id, "b");
        }
    }

    #[test]
    fn the_most_urgent_free_task_is_next_and_room_is_bounded() {
        let mut tasks = Tasks::default();
        for (id, priority) in [("low", 1), ("high", 9), ("claimed", 10)] {
            assert!(tasks.hold(task(id, priority), NOW));
        }
        tasks.claim("claimed", "a", NOW).unwrap();
        let next = tasks.next(NOW, "somebody").map(|it| it.task_id.clone());
        assert_eq!(next.as_deref(), Some("high"));
        assert_eq!(tasks.next(NOW, "r"), None, "not one's own");
        for number in 3..MAX_TASKS {
            assert!(tasks.hold(task(&number.to_string(), 1), NOW));
        }
        assert!(!tasks.hold(task("one more", 1), NOW));
        let late = NOW.plus(Duration::from_secs(60));
        assert!(tasks.hold(task("one more", 1), late), "those whose time is over make room");
    }
}
