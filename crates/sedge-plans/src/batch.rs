//! A batch and its tasks, as they are kept.

use sedge_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::wish::{Ran, Wish};

/// Tasks that were handed in together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// How many tasks it has.
    pub tasks: usize,
    /// How many of them have ended, well or not.
    pub ended: usize,
    /// How many of these failed, were refused or interrupted.
    pub failed: usize,
    /// When it was handed in.
    pub created: Timestamp,
    /// When the last task ended; `None` while some have not.
    pub done: Option<Timestamp>,
}

/// Where a task of a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// It waits for its turn.
    Queued,
    /// It has begun.
    Running,
    /// It did what it should.
    Success,
    /// It failed, or was refused.
    Failed,
    /// The node stopped while it ran; it is not repeated.
    Interrupted,
}

impl BatchState {
    /// Returns whether nothing happens any more.
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// One task of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchTask {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Where it stands.
    pub state: BatchState,
    /// What came of it.
    #[serde(flatten)]
    pub ran: Ran,
}

/// A batch with its tasks, in the order in which they were handed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    /// The batch.
    #[serde(flatten)]
    pub batch: Batch,
    /// Its tasks.
    pub results: Vec<BatchTask>,
}

/// One task as it lies in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptTask {
    /// What shall run; `None` once it has ended.
    pub wish: Option<Wish>,
    /// Where it stands.
    #[serde(flatten)]
    pub task: BatchTask,
}

impl KeptTask {
    /// Makes a task that waits.
    pub fn queued(index: usize, wish: Wish) -> Self {
        let task = BatchTask { index, state: BatchState::Queued, ran: Ran::default() };
        Self { wish: Some(wish), task }
    }

    /// Makes the record of one that has begun.
    pub fn begun(index: usize, wish: Wish) -> Self {
        let task = BatchTask { index, state: BatchState::Running, ran: Ran::default() };
        Self { wish: Some(wish), task }
    }

    /// Makes the record of one that has ended.
    pub fn ended(index: usize, ran: Ran) -> Self {
        let state = match ran.failure {
            None => BatchState::Success,
            Some(_) => BatchState::Failed,
        };
        Self { wish: None, task: BatchTask { index, state, ran } }
    }

    /// Takes it up after the node was away: what ran then was interrupted.
    pub fn take_up(&mut self) {
        if self.task.state == BatchState::Running {
            self.task.state = BatchState::Interrupted;
            self.wish = None;
        }
    }
}

impl Batch {
    /// Counts what is known of the tasks anew.
    pub fn recount(&mut self, tasks: &[KeptTask], now: Timestamp) {
        let ended = tasks.iter().filter(|it| it.task.state.has_ended());
        self.ended = ended.clone().count();
        self.failed = ended.filter(|it| it.task.state != BatchState::Success).count();
        if self.ended == self.tasks && self.done.is_none() {
            self.done = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use sedge_base::ErrorKind;
    use sedge_capability::Failure;

    use super::*;

    #[test]
    fn tasks_read_back_and_a_batch_counts_them() {
        let wish: Wish = serde_json::from_str(r#"{"function":"fn-1","input":"x"}"#).unwrap();
        let failure = Failure::new(ErrorKind::Failed, "trap", "it trapped");
        let mut tasks = [
            KeptTask::queued(0, wish.clone()),
            KeptTask::begun(1, wish),
            KeptTask::ended(2, Ran::default()),
            KeptTask::ended(3, Ran::refused(failure)),
        ];
        for it in &tasks {
            let text = serde_json::to_string(it).unwrap();
            assert_eq!(serde_json::from_str::<KeptTask>(&text).unwrap(), *it);
        }
        tasks.iter_mut().for_each(KeptTask::take_up);
        let states = tasks.each_ref().map(|it| it.task.state);
        use BatchState::{Failed, Interrupted, Queued, Success};
        assert_eq!(states, [Queued, Interrupted, Success, Failed]);
        let (id, created) = ("a".to_owned(), Timestamp::from_millis(1));
        let mut batch = Batch { id, tasks: 4, ended: 0, failed: 0, created, done: None };
        batch.recount(&tasks, Timestamp::from_millis(2));
        assert_eq!((batch.ended, batch.failed, batch.done), (3, 2, None));
        tasks[0] = KeptTask::ended(0, Ran::default());
        batch.recount(&tasks, Timestamp::from_millis(2));
        assert_eq!((batch.ended, batch.done), (4, Some(Timestamp::from_millis(2))));
    }
}
