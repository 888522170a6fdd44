//! What a conversation leaves open, filled in by the owner.

use serde::Deserialize;

use crate::chat::ChatInput;

/// Values for what a conversation leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Preset {
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) max_tokens: Option<u32>,
}

/// A set of values with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PresetName {
    /// Chooses freely.
    Creative,
    /// Hardly chooses.
    Precise,
    /// Says little.
    Fast,
    /// May say a lot.
    Comprehensive,
}

impl PresetName {
    /// Returns the values; some vendors take only one of temperature and `top_p`, so none sets both.
    pub(super) fn values(self) -> Preset {
        let (temperature, max_tokens) = match self {
            Self::Creative => (Some(0.9), None),
            Self::Precise => (Some(0.1), None),
            Self::Fast => (None, Some(256)),
            Self::Comprehensive => (None, Some(4096)),
        };
        Preset { temperature, max_tokens, top_p: None }
    }
}

impl Preset {
    /// Returns these values, and others where there are none.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            temperature: self.temperature.or(other.temperature),
            top_p: self.top_p.or(other.top_p),
            max_tokens: self.max_tokens.or(other.max_tokens),
        }
    }

    /// Fills in what a conversation leaves open; what it says stands, and a zero says something.
    /// A budget of tokens holds above both.
    pub(crate) fn fill(self, input: ChatInput, budget: Option<u32>) -> ChatInput {
        let max_tokens = input.max_tokens.or(self.max_tokens);
        let max_tokens = match (max_tokens, budget) {
            (Some(asked), Some(budget)) => Some(asked.min(budget)),
            (asked, budget) => asked.or(budget),
        };
        ChatInput {
            max_tokens,
            temperature: input.temperature.or(self.temperature),
            top_p: input.top_p.or(self.top_p),
            ..input
        }
    }
}
