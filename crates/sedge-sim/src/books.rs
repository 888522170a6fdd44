//! What was asked for in a run and what was said to it: what the checks hold the nodes to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{ContentId, NodeId};
use sedge_capability::Failure;
use tokio::time::Instant;

use crate::plan::TaskWork;
use crate::quorum::Granted;

/// The books of a run; cheap to clone, every clone is the same books.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    began: Instant,
    pages: Arc<Mutex<Pages>>,
}

/// What the books hold.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// The story, one line each.
    pub(crate) story: Vec<String>,
    /// Every task that was asked for.
    pub(crate) tasks: Vec<TaskNote>,
    /// Every deployment that was acknowledged.
    pub(crate) deployed: Vec<DeployNote>,
    /// Machines whose membership was taken back, as the owner was told.
    pub(crate) revoked: Vec<usize>,
    /// Machines that joined again after that, as they were told.
    pub(crate) readmitted: Vec<usize>,
    /// Machines of which nobody can say whether they are members: the answer was lost.
    pub(crate) uncertain: Vec<usize>,
    /// How many revocations of a membership were begun.
    pub(crate) revocations: u64,
    /// What the quorum granted.
    pub(crate) granted: Vec<Granted>,
    /// Whether the owner was told that the token is void.
    pub(crate) token_revoked: bool,
    /// What broke a rule while the run went on.
    pub(crate) broken: Vec<String>,
    /// What was asked for and has not ended, and whose asker still lives.
    pub(crate) open: Vec<(u64, String)>,
    number: u64,
}

/// A task that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct TaskNote {
    /// What was asked for.
    pub(crate) work: TaskWork,
    /// What came of it; `None` when the asker lost its power.
    pub(crate) end: Option<TaskEnd>,
}

/// What came of a task.
#[derive(Debug, Clone)]
pub(crate) struct TaskEnd {
    /// How long the asker waited.
    pub(crate) took: Duration,
    /// Who ran it, and the receipt, if it has one.
    pub(crate) receipt: Option<(NodeId, ContentId)>,
    /// Why not, if it did not succeed.
    pub(crate) failure: Option<Failure>,
}

/// A deployment that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct DeployNote {
    /// The machine that has it.
    pub(crate) machine: NodeId,
    /// The function's name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) content: ContentId,
}

impl Books {
    /// Opens empty books; the story's time begins now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), pages: Arc::default() }
    }

    /// Returns the pages, for a moment.
    pub(crate) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line of the story.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        let millis = self.began.elapsed().as_millis();
        let line = format!("{:3}.{:03} {}", millis / 1000, millis % 1000, line.as_ref());
        self.pages().story.push(line);
    }

    /// Notes that a rule was broken.
    pub(crate) fn broken(&self, what: impl Into<String>) {
        let what = what.into();
        self.say(format!("BROKEN: {what}"));
        self.pages().broken.push(what);
    }

    /// Notes that something was begun; it is off the list when the value is dropped.
    pub(crate) fn open(&self, what: impl Into<String>) -> Begun {
        let mut pages = self.pages();
        pages.number += 1;
        let number = pages.number;
        pages.open.push((number, what.into()));
        drop(pages);
        Begun { books: self.clone(), number }
    }
}

impl Default for Books {
    fn default() -> Self {
        Self::new()
    }
}

impl Pages {
    /// Takes back one doubt about a machine's membership.
    pub(crate) fn settle(&mut self, machine: usize) {
        if let Some(at) = self.uncertain.iter().position(|it| *it == machine) {
            self.uncertain.swap_remove(at);
        }
    }
}

/// Something that was begun and has not ended.
#[derive(Debug)]
pub(crate) struct Begun {
    books: Books,
    number: u64,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.books.pages().open.retain(|it| it.0 != self.number);
    }
}
