//! What is wrong, and what to do about it: faults of a home, and of a node among others.
//!
//! A check looks and changes nothing. Each fault has a stable code; `grave` ones keep something from
//! working, the others are worth knowing.

mod home;
mod swarm;
mod trust;

use serde::{Deserialize, Serialize};

pub use home::examine_home;

/// Something that a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stable name of the fault, such as `member_offline`.
    pub code: String,
    /// Whom or what it concerns: a node's name, a file.
    pub subject: String,
    /// What is the matter, in words.
    pub message: String,
    /// What to do about it.
    pub next_step: String,
    /// Whether something does not work because of it.
    pub grave: bool,
}

impl Finding {
    fn new(code: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            subject: subject.into(),
            message: message.into(),
            next_step: String::new(),
            grave: true,
        }
    }

    fn next(mut self, step: impl Into<String>) -> Self {
        self.next_step = step.into();
        self
    }

    const fn minor(mut self) -> Self {
        self.grave = false;
        self
    }
}
