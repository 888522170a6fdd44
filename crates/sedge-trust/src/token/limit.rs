//! What a token can take away, and how each limit is written as a Biscuit check.
//!
//! | limit | check |
//! | --- | --- |
//! | capabilities | `check if capability($it), {"fn-1", "fn-2"}.contains($it)` |
//! | nodes | `check if node($it), {"8f…"}.contains($it)` |
//! | until | `check if time($it), $it < 2026-11-21T18:00:00Z` |
//! | calls | `check if used(1, $it), $it < 10`, where 1 is the block's own number |
//! | a budget | `check if fuel($it), $it <= 1000000` |

use std::collections::BTreeSet;
use std::fmt;

use sedge_base::{ErrorKind, NodeId, Timestamp};
use serde::Serialize;

/// The most names or nodes in one limit.
pub const MAX_NAMES: usize = 64;

/// The longest name of a capability, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// The first second of the year 10000: dates end before it.
const DATES_END: u64 = 253_402_300_800;

/// The largest number that a check can hold.
const MAX_NUMBER: u64 = i64::MAX as u64;

/// What one task may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Wasm instructions.
    Fuel,
    /// Memory of the guest, in bytes.
    Memory,
    /// Wall-clock time, in milliseconds.
    TimeMs,
    /// Output, in bytes.
    Output,
    /// Tokens that a model may produce.
    Tokens,
}

impl Budget {
    /// Every budget.
    pub const ALL: [Self; 5] = [Self::Fuel, Self::Memory, Self::TimeMs, Self::Output, Self::Tokens];

    /// Returns the name of its fact.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::TimeMs => "time_ms",
            Self::Output => "output",
            Self::Tokens => "tokens",
        }
    }
}

/// One thing that a token takes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Only these capabilities, by name; 1 to [`MAX_NAMES`].
    Capabilities(BTreeSet<String>),
    /// Only on these nodes; 1 to [`MAX_NAMES`].
    Nodes(BTreeSet<NodeId>),
    /// Only before this date; whole seconds.
    Until(Timestamp),
    /// Only so many calls in all. Every node counts the calls that it sees, for the block that this
    /// limit stands in: what is narrowed from the block shares its count.
    Calls(u64),
    /// Only tasks that ask for no more than this.
    AtMost(Budget, u64),
}

/// A limit cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// There are no names, too many, or one of them is none.
    #[error(
        "a token names 1 to {MAX_NAMES} capabilities, each of 1 to {MAX_NAME_BYTES} letters, digits or ._-:/"
    )]
    Names,
    /// There are no nodes, or too many.
    #[error("a token names 1 to {MAX_NAMES} nodes")]
    Nodes,
    /// The date is no whole second, or later than dates go.
    #[error("a token ends at a whole second before the year 10000")]
    Date,
    /// The number is too large.
    #[error("a number in a token is at most {MAX_NUMBER}")]
    Number,
}

impl LimitError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Limit {
    pub(super) fn validate(&self) -> Result<(), LimitError> {
        let (sound, error) = match self {
            Self::Capabilities(names) => (
                (1..=MAX_NAMES).contains(&names.len()) && names.iter().all(|it| is_name(it)),
                LimitError::Names,
            ),
            Self::Nodes(nodes) => ((1..=MAX_NAMES).contains(&nodes.len()), LimitError::Nodes),
            Self::Until(at) => {
                let millis = at.as_millis();
                (millis.is_multiple_of(1000) && millis / 1000 < DATES_END, LimitError::Date)
            }
            Self::Calls(number) | Self::AtMost(_, number) => {
                (*number <= MAX_NUMBER, LimitError::Number)
            }
        };
        if sound { Ok(()) } else { Err(error) }
    }

    /// Writes the limit as a check of the block with this number.
    pub(super) fn source(&self, block: usize) -> String {
        match self {
            Self::Capabilities(names) => {
                format!("check if capability($it), {{{}}}.contains($it)", quoted(names))
            }
            Self::Nodes(nodes) => {
                let nodes: BTreeSet<String> = nodes.iter().map(NodeId::to_string).collect();
                format!("check if node($it), {{{}}}.contains($it)", quoted(&nodes))
            }
            Self::Until(at) => {
                format!("check if time($it), $it < {}", at.to_string().replace(".000Z", "Z"))
            }
            Self::Calls(most) => format!("check if used({block}, $it), $it < {most}"),
            Self::AtMost(budget, most) => format!("check if {}($it), $it <= {most}", budget.name()),
        }
    }

    /// Reads back what [`Limit::source`] writes; `None` for any other check.
    pub(super) fn read(block: usize, check: &str) -> Option<Self> {
        let body = check.strip_prefix("check if ")?;
        let limit = if let Some(names) = within(body, "capability($it), {", "}.contains($it)") {
            Self::Capabilities(unquoted(names)?)
        } else if let Some(nodes) = within(body, "node($it), {", "}.contains($it)") {
            let nodes = unquoted(nodes)?;
            Self::Nodes(nodes.iter().map(|it| it.parse().ok()).collect::<Option<_>>()?)
        } else if let Some(date) = body.strip_prefix("time($it), $it < ") {
            Self::Until(date.parse().ok()?)
        } else if let Some(most) = body.strip_prefix(&format!("used({block}, $it), $it < ")) {
            Self::Calls(number(most)?)
        } else {
            let (name, most) = body.split_once("($it), $it <= ")?;
            let budget = Budget::ALL.into_iter().find(|it| it.name() == name)?;
            Self::AtMost(budget, number(most)?)
        };
        limit.validate().ok()?;
        Some(limit)
    }
}

impl fmt::Display for Limit {
    /// Says what is left, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capabilities(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, "only {}", names.join(", "))
            }
            Self::Nodes(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(NodeId::short).collect();
                write!(f, "only on {}", nodes.join(", "))
            }
            Self::Until(at) => write!(f, "only before {at}"),
            Self::Calls(most) => write!(f, "only {most} calls"),
            Self::AtMost(budget, most) => write!(f, "{} at most {most} a task", budget.name()),
        }
    }
}

/// Returns whether a text is a capability's name: nothing in it needs escaping in a check.
fn is_name(text: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"._-:/".contains(&it);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

fn quoted(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().map(|it| format!("\"{it}\"")).collect();
    names.join(", ")
}

/// Reads `"a", "b"`; `None` when a name occurs twice.
fn unquoted(text: &str) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for name in text.split(", ") {
        let name = name.strip_prefix('"')?.strip_suffix('"')?;
        names.insert(name.to_owned()).then_some(())?;
    }
    Some(names)
}

fn within<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

/// Reads a number in its one spelling.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
