//! A task that somebody wishes for later: kept as JSON, run by the ordinary way.

use bytes::Bytes;
use sedge_base::{ContentId, ErrorKind, NodeId, TaskId};
use sedge_capability::{Budgets, End, Failure, Name};
use serde::{Deserialize, Serialize};

/// The longest input of a wish, in bytes: what is kept has to be small.
const MAX_INPUT: usize = 256 * 1024;

/// The longest output that is kept, in bytes; the receipt has the hash of all of it.
const MAX_KEPT: usize = 64 * 1024;

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
    pub fn bytes(&self) -> Result<Bytes, Failure> {
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
}

impl Ran {
    /// Returns what is known of a wish that was not run.
    pub fn refused(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// Returns what came of a wish that ran: the output's first 64 KiB, and the end.
    pub fn ended(mut output: Vec<u8>, end: End) -> Self {
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
