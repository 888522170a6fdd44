//! A task that somebody wishes for later: kept as JSON, run by the ordinary way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use sedge_base::{ContentId, ErrorKind, NodeId, TaskId};
use sedge_capability::{Budgets, End, Failure, Kind, Media, Name};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::node::Node;
use crate::view::Ask;

/// The longest input of a wish, in bytes: what is kept has to be small.
const MAX_INPUT: usize = 256 * 1024;

/// The longest output that is kept, in bytes; the receipt has the hash of all of it.
pub(crate) const MAX_KEPT: usize = 64 * 1024;

/// How long the first tasks after a start wait for the other members to say what they offer.
const HEAR_WITHIN: Duration = Duration::from_secs(5);

/// How long a task of a batch waits for a place.
const PLACE_WITHIN: Duration = Duration::from_secs(60);

/// How long it waits before it looks again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A task to run at another time, or beside others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The function.
    pub function: Name,
    /// The input as text, at most 256 KiB; empty when left out.
    #[serde(default)]
    pub input: String,
    /// The input in hexadecimal, in place of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_hex: Option<String>,
    /// The one node to run it on, by name, id or the beginning of an id; routing picks when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The most it may use.
    #[serde(default)]
    pub budgets: Budgets,
}

/// What became of a wish.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The task's id; the receipt knows it by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The node that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// That node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The receipt's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ContentId>,
    /// The output, when it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The output in hexadecimal, when it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_hex: Option<String>,
    /// How much of the output is not kept here, in bytes; 0 when all of it is.
    #[serde(default)]
    pub output_cut: u64,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Wish {
    /// Returns the input's bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is too long, or no hexadecimal.
    pub(crate) fn bytes(&self) -> Result<Bytes, Failure> {
        let invalid = |text: &str| Failure::new(ErrorKind::Invalid, "invalid_input", text);
        let bytes = match &self.input_hex {
            None => self.input.clone().into_bytes(),
            Some(_) if !self.input.is_empty() => {
                return Err(invalid("give `input` or `input_hex`, not both"));
            }
            Some(text) => {
                hex::decode(text).map_err(|_| invalid("`input_hex` is no hexadecimal"))?
            }
        };
        if bytes.len() > MAX_INPUT {
            return Err(invalid("the input is longer than 256 KiB"));
        }
        Ok(bytes.into())
    }

    fn ask(&self) -> Result<Ask, Failure> {
        Ok(Ask {
            capability: self.function.clone(),
            kind: Some(Kind::Function),
            input: self.bytes()?,
            media: Media::Plain,
            budgets: self.budgets,
            on: self.on.clone(),
            pass: None,
        })
    }
}

impl Ran {
    /// Returns what is known of a wish that was not run.
    pub(crate) fn refused(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    fn ended(mut output: Vec<u8>, end: End) -> Self {
        let output_cut = output.len().saturating_sub(MAX_KEPT) as u64;
        output.truncate(MAX_KEPT);
        let receipt = end.receipt.and_then(|it| it.id().ok());
        let (output, output_hex) = match String::from_utf8(output) {
            Ok(text) => (Some(text), None),
            Err(bytes) => (None, Some(hex::encode(bytes.into_bytes()))),
        };
        Self { receipt, output, output_hex, output_cut, failure: end.failure, ..Self::default() }
    }
}

impl Node {
    /// Hears what others offer, or gives up on those that are silent: for tasks that begin with the
    /// node.
    pub(crate) async fn hear_others(self: &Arc<Self>) {
        let others = self.partners().into_iter().map(|it| self.beat(it));
        drop(tokio::time::timeout(HEAR_WITHIN, join_all(others)).await);
    }

    /// Runs a wish as [`Node::run_wish`] does; one that finds no place waits for one.
    pub(crate) async fn run_wish_in_turn(self: &Arc<Self>, wish: &Wish) -> Ran {
        let end = Instant::now() + PLACE_WITHIN;
        loop {
            let ran = self.run_wish(wish).await;
            let full = ran.failure.as_ref().is_some_and(|it| {
                ran.task.is_none() && matches!(&*it.code, "busy" | "no_candidate")
            });
            if !full || Instant::now() >= end {
                return ran;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Runs a wish to its end, by the ordinary way: routed, under budgets, with a receipt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future asks the engine to stop.
    pub(crate) async fn run_wish(self: &Arc<Self>, wish: &Wish) -> Ran {
        let answer = match wish.ask() {
            Ok(ask) => self.run(ask).await,
            Err(failure) => Err(failure),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return Ran::refused(failure),
        };
        let (output, end) = answer.outcome.collect().await;
        Ran {
            task: Some(answer.task),
            node: Some(answer.node),
            node_name: Some(answer.node_name),
            ..Ran::ended(output, end)
        }
    }
}
