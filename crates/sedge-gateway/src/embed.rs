//! What an embedding model is asked and what it answers, in nobody's wire format.

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most texts of one task.
pub(crate) const MOST_TEXTS: usize = 2048;

/// The longest text, in bytes; far beyond what any embedding model reads.
pub(crate) const LONGEST_TEXT: usize = 64 << 10;

/// Texts to turn into vectors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedInput {
    /// 1 to 2048 texts, none of them empty.
    pub texts: Vec<String>,
}

/// The vectors of the texts, in the same order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EmbedOutput {
    /// One vector of length 1 per text.
    pub vectors: Vec<Vec<f32>>,
    /// How many tokens the texts have together.
    pub prompt_tokens: u32,
}

/// Why texts are refused before they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedInputError {
    /// It is not JSON of the expected shape.
    #[error("the input is not a list of texts: {says}")]
    Shape {
        /// What the reader says, with the place.
        says: String,
    },
    /// There are none, or too many.
    #[error("`texts` must be 1 to {most} texts, these are {got}")]
    Count {
        /// The most.
        most: usize,
        /// How many there are.
        got: usize,
    },
    /// A text is empty or too long.
    #[error("text {index} must have 1 to {most} bytes, it has {got}")]
    Length {
        /// Which one, from 0.
        index: usize,
        /// The most.
        most: usize,
        /// How many it has.
        got: usize,
    },
}

impl EmbedInputError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl EmbedInput {
    /// Reads and checks the texts.
    ///
    /// # Errors
    ///
    /// [`EmbedInputError`], naming the text.
    pub fn read(json: &[u8]) -> Result<Self, EmbedInputError> {
        let input: Self = serde_json::from_slice(json)
            .map_err(|err| EmbedInputError::Shape { says: err.to_string() })?;
        if input.texts.is_empty() || input.texts.len() > MOST_TEXTS {
            return Err(EmbedInputError::Count { most: MOST_TEXTS, got: input.texts.len() });
        }
        let wrong = |it: &String| it.is_empty() || it.len() > LONGEST_TEXT;
        if let Some(index) = input.texts.iter().position(wrong) {
            let got = input.texts[index].len();
            return Err(EmbedInputError::Length { index, most: LONGEST_TEXT, got });
        }
        Ok(input)
    }

    /// Returns the JSON schema of the input.
    pub fn json_schema() -> Value {
        json!({
            "type": "object",
            "required": ["texts"],
            "additionalProperties": false,
            "properties": {
                "texts": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MOST_TEXTS,
                    "items": { "type": "string", "minLength": 1 },
                },
            },
        })
    }
}

impl EmbedOutput {
    /// Returns the JSON schema of the output.
    pub fn json_schema() -> Value {
        json!({
            "type": "object",
            "required": ["vectors", "prompt_tokens"],
            "properties": {
                "vectors": {
                    "type": "array",
                    "items": { "type": "array", "items": { "type": "number" } },
                },
                "prompt_tokens": { "type": "integer", "minimum": 0 },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Expect) {
        let got = EmbedInput::read(json.as_bytes()).map(|it| it.texts.join("|"));
        expected.assert_eq(&got.unwrap_or_else(|err| err.to_string()));
    }

    #[test]
    fn texts_are_checked() {
        check(r#"{"texts":["a","b"]}"#, expect!["a|b"]);
        check(r#"{"texts":[]}"#, expect!["`texts` must be 1 to 2048 texts, these are 0"]);
        check(r#"{"texts":["a",""]}"#, expect!["text 1 must have 1 to 65536 bytes, it has 0"]);
        check(
            r#"{"texts":["a"],"model":"x"}"#,
            expect![
                "the input is not a list of texts: unknown field `model`, expected `texts` at line 1 column 22"
            ],
        );
    }
}
