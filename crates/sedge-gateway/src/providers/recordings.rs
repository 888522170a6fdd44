//! What providers answer, for tests: shapes after the vendors' documentation, see `recordings/README.md`.

/// What an API answers.
macro_rules! of_each {
    ($file:literal) => {
        &[
            ("openai", include_str!(concat!("../../recordings/openai/", $file, ".sse"))),
            ("anthropic", include_str!(concat!("../../recordings/anthropic/", $file, ".sse"))),
            ("google", include_str!(concat!("../../recordings/google/", $file, ".sse"))),
            ("mistral", include_str!(concat!("../../recordings/mistral/", $file, ".sse"))),
            ("ollama", include_str!(concat!("../../recordings/ollama/", $file, ".ndjson"))),
            ("custom", include_str!(concat!("../../recordings/custom/", $file, ".sse"))),
        ]
    };
}

/// The same short answer, in the order of the APIs.
pub(crate) const CHATS: &[(&str, &str)] = of_each!("chat");

/// The same two calls of tools.
pub(super) const TOOLS: &[(&str, &str)] = of_each!("tools");

/// An answer that begins well and turns into an error.
pub(super) const MIDWAY: &[(&str, &str)] = of_each!("midway");

/// The same two vectors, of those who have any.
pub(super) const VECTORS: &[(&str, &str)] = &[
    ("openai", include_str!("../../recordings/openai/embed.json")),
    ("google", include_str!("../../recordings/google/embed.json")),
    ("mistral", include_str!("../../recordings/mistral/embed.json")),
    ("ollama", include_str!("../../recordings/ollama/embed.json")),
    ("custom", include_str!("../../recordings/custom/embed.json")),
];
