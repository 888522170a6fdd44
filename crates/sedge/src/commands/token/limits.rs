//! What a token takes away, on the command line.

use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind, NodeId, Timestamp};
use sedge_trust::token::{Budget, Limit};

use crate::failed::Failed;
use crate::span;

/// The limits of a token; what is left out is not limited.
#[derive(Debug, clap::Args)]
pub(super) struct LimitArgs {
    /// Only this capability, by its name; may be given several times
    #[arg(long, value_name = "NAME")]
    capability: Vec<String>,
    /// Only before this date, such as 2026-11-21T18:00:00Z
    #[arg(long, value_name = "DATE", conflicts_with = "lasts")]
    until: Option<Timestamp>,
    /// Only so long from now, such as 90m
    #[arg(long = "for", value_name = "TIME", value_parser = span::parse)]
    lasts: Option<Duration>,
    /// Only so many calls; each node counts those that it sees
    #[arg(long, value_name = "N")]
    calls: Option<u64>,
    /// Only on this node, by its whole id; may be given several times
    #[arg(long, value_name = "HEX")]
    node: Vec<NodeId>,
    /// Only so many Wasm instructions in a task
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// Only so much memory in a task, such as 64MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Only so much time in a task, such as 500ms
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    time: Option<Duration>,
    /// Only so much output of a task, such as 1MiB
    #[arg(long, value_name = "SIZE")]
    output: Option<ByteSize>,
    /// Only so many tokens that a model may produce in a task
    #[arg(long, value_name = "N")]
    tokens: Option<u32>,
}

impl LimitArgs {
    /// Returns the limits; dates are cut to whole seconds.
    pub(super) fn limits(self, now: Timestamp) -> Result<Vec<Limit>, Failed> {
        let Self { capability, until, lasts, calls, node, fuel, memory, time, output, tokens } =
            self;
        let mut limits = Vec::new();
        if !capability.is_empty() {
            limits.push(Limit::Capabilities(capability.into_iter().collect()));
        }
        if let Some(at) = until.or_else(|| Some(now.plus(lasts?))) {
            limits.push(Limit::Until(Timestamp::from_millis(at.as_millis() / 1000 * 1000)));
        }
        limits.extend(calls.map(Limit::Calls));
        if !node.is_empty() {
            limits.push(Limit::Nodes(node.into_iter().collect()));
        }
        let time_ms = match time.map(|it| u64::try_from(it.as_millis())) {
            None => None,
            Some(Ok(millis)) => Some(millis),
            Some(Err(_)) => return Err(Failed::new(ErrorKind::Invalid, "so much time there is not")),
        };
        let budgets = [
            (Budget::Fuel, fuel),
            (Budget::Memory, memory.map(|it| it.as_bytes())),
            (Budget::TimeMs, time_ms),
            (Budget::Output, output.map(|it| it.as_bytes())),
            (Budget::Tokens, tokens.map(u64::from)),
        ];
        limits.extend(budgets.into_iter().filter_map(|(it, most)| Some(Limit::AtMost(it, most?))));
        Ok(limits)
    }
}
