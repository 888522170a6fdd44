//! What a task may use, and what it did use.

use std::time::Duration;

use sedge_base::ByteSize;
use serde::{Deserialize, Serialize};

/// The most that one task may use; `None` leaves the engine's own limit in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Wasm instructions, as the engine's fuel counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Memory of the guest, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Wall-clock time in milliseconds, from the moment the executing node takes the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// Output of all chunks together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<ByteSize>,
    /// Tokens that a model may produce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
}

impl Budgets {
    /// Returns the smaller of both in every field: what a caller asks for under what is allowed.
    #[must_use]
    pub fn within(self, limits: Self) -> Self {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            }
        }
        Self {
            fuel: least(self.fuel, limits.fuel),
            memory: least(self.memory, limits.memory),
            time_ms: least(self.time_ms, limits.time_ms),
            output: least(self.output, limits.output),
            tokens: least(self.tokens, limits.tokens),
        }
    }

    /// Returns the time budget, if there is one.
    pub fn time(&self) -> Option<Duration> {
        self.time_ms.map(Duration::from_millis)
    }
}

/// What a task used; `None` where the engine has no such figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Wasm instructions, as the engine's fuel counts them.
    pub fuel: Option<u64>,
    /// Highest memory of the guest, in bytes.
    pub peak_memory: Option<ByteSize>,
    /// Wall-clock time on the executing node, in microseconds.
    pub took_us: u64,
    /// Bytes of all chunks together.
    pub output_bytes: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the prompt that a cache made free.
    pub cached_tokens: Option<u32>,
    /// Tokens that the model produced.
    pub completion_tokens: Option<u32>,
    /// Whether the function had never succeeded before since it was deployed here.
    pub cold: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_budget_wins() {
        let asked = Budgets { fuel: Some(10), time_ms: Some(500), ..Budgets::default() };
        let limits = Budgets { fuel: Some(5), tokens: Some(7), ..Budgets::default() };
        let got = asked.within(limits);
        assert_eq!((got.fuel, got.time_ms, got.tokens), (Some(5), Some(500), Some(7)));
    }
}
