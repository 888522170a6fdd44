//! Mistral's API: OpenAI's shapes under some names of its own.

use super::openai::{self, Dialect};
use super::{Api, Key};

/// Mistral.
pub(super) const API: Api = Api {
    name: "mistral",
    base_url: Some("https://api.mistral.ai/v1"),
    key: Key::Needed("authorization", "Bearer "),
    sees: false,
    wire: &Dialect {
        most: "max_tokens",
        seed: "random_seed",
        required: "any",
        // It counts without being asked, and knows no such option.
        asks_usage: false,
    },
    ..openai::API
};
