//! The limits of one task, every one of them set.

use std::time::Duration;

use sedge_base::ByteSize;
use sedge_capability::Budgets;

use crate::FunctionsConfig;

/// The limits of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) fuel: u64,
    pub(crate) memory: ByteSize,
    pub(crate) time: Duration,
    pub(crate) output: ByteSize,
}

impl Limits {
    /// Returns what the config allows.
    pub(crate) fn of_config(config: &FunctionsConfig) -> Self {
        let FunctionsConfig { fuel, memory, time, output, .. } = *config;
        Self { fuel, memory, time, output }
    }

    /// Returns the smaller of these and `budgets` in every field.
    pub(crate) fn within(self, budgets: &Budgets) -> Self {
        Self {
            fuel: budgets.fuel.map_or(self.fuel, |it| it.min(self.fuel)),
            memory: budgets.memory.map_or(self.memory, |it| it.min(self.memory)),
            time: budgets.time().map_or(self.time, |it| it.min(self.time)),
            output: budgets.output.map_or(self.output, |it| it.min(self.output)),
        }
    }

    /// Returns them as the contract writes them.
    pub(crate) fn to_budgets(self) -> Budgets {
        Budgets {
            fuel: Some(self.fuel),
            memory: Some(self.memory),
            time_ms: Some(u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX)),
            output: Some(self.output),
            tokens: None,
        }
    }
}
