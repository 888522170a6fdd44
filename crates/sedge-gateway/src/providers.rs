//! Whose models a node can ask: one file for each vendor's API, one line in the list below.
//!
//! A file here turns conversations into requests and what comes back into an [`Answer`]; it opens no
//! connection and holds no key. [`remote`](crate::remote) does both.

mod anthropic;
mod google;
mod mistral;
mod ollama;
mod openai;
#[cfg(test)]
pub(crate) mod recordings;
#[cfg(test)]
mod tests;

use sedge_base::ErrorKind;
use sedge_capability::Failure;
use serde_json::{Value, json};

use crate::chat::{ChatInput, ToolCall};
use crate::embed::EmbedOutput;
use crate::remote::{Answer, Framing};

/// The APIs that are known: one line for each.
pub(crate) const APIS: &[Api] =
    &[openai::API, anthropic::API, google::API, mistral::API, ollama::API, openai::CUSTOM];

/// What is known of a vendor's API.
#[derive(Debug)]
pub(crate) struct Api {
    /// What the owner calls it.
    pub(crate) name: &'static str,
    /// Where it is when the owner does not say; `None` means that they have to.
    pub(crate) base_url: Option<&'static str>,
    /// How it is told who asks.
    pub(crate) key: Key,
    /// What else every request says.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// How it cuts its streams.
    pub(crate) framing: Framing,
    /// Whether its models see images when the owner does not say.
    pub(crate) sees: bool,
    /// What it says.
    pub(crate) wire: &'static dyn Wire,
}

/// How an API is told who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// In a header of that name, behind that word; without one nobody is answered.
    Needed(&'static str, &'static str),
    /// The same, if it wants to know at all.
    Asked(&'static str, &'static str),
}

impl Key {
    /// Returns the header and the word before the key.
    pub(crate) const fn header(self) -> (&'static str, &'static str) {
        match self {
            Self::Needed(name, word) | Self::Asked(name, word) => (name, word),
        }
    }
}

/// A request, without the address and the key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// What follows the base address.
    pub(crate) path: String,
    /// The body.
    pub(crate) body: Value,
}

/// What one vendor's API says: requests out of conversations, answers out of streams.
///
/// Implementations compute and do nothing else. What a conversation asks for and the API cannot say
/// is refused by name, never left out; what is absent stays absent, and a zero is a zero.
pub(crate) trait Wire: std::fmt::Debug + Send + Sync {
    /// Returns the request for a streamed answer to a conversation.
    fn chat(&self, model: &str, input: &ChatInput) -> Result<Request, Failure>;

    /// Takes the next object of a streamed answer that is no error; what it does not know is let pass.
    fn take(&self, object: &Value, answer: &mut Answer);

    /// Returns the request for the vectors of texts, or `None` when the API has no such models.
    fn embed(&self, model: &str, texts: &[String]) -> Option<Request>;

    /// Returns the vectors out of an answer, in the order of the texts, or `None` when they are not there.
    fn vectors(&self, body: &Value) -> Option<EmbedOutput>;
}

/// Returns the API of that name.
pub(crate) fn find(name: &str) -> Option<&'static Api> {
    APIS.iter().find(|it| it.name == name)
}

/// Returns the refusal of what an API cannot say.
fn cannot(api: &str, what: &str) -> Failure {
    let text = format!("`{what}` is not something that the API of `{api}` takes");
    Failure::new(ErrorKind::Invalid, "unsupported_parameter", text)
}

/// Returns a number of 32 bits in JSON as a person would write it.
fn number(value: f32) -> Value {
    let text = value.to_string();
    if let Ok(whole) = text.parse::<i64>() {
        return json!(whole);
    }
    json!(text.parse::<f64>().unwrap_or_else(|_| f64::from(value)))
}

/// Sets the fields of an object that are not absent.
fn set<const N: usize>(body: &mut Value, fields: [(&str, Option<Value>); N]) {
    for (name, value) in fields {
        if let Some(value) = value {
            body[name] = value;
        }
    }
}

/// Returns a count out of an answer; what is absent or beyond every window is none.
fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|it| u32::try_from(it).ok())
}

/// Returns a list of numbers as a vector of length 1.
fn vector(value: &Value) -> Option<Vec<f32>> {
    let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
    let numbers = numbers.filter(|it| !it.is_empty())?;
    let length = numbers.iter().map(|it| it * it).sum::<f64>().sqrt();
    let length = if length > 0.0 { length } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, reason = "vectors have 32 bits")]
    let vector: Vec<f32> = numbers.into_iter().map(|it| (it / length) as f32).collect();
    vector.iter().all(|it| it.is_finite()).then_some(vector)
}

/// Returns a call's arguments as an object, for APIs that take no text.
fn object_of(call: &ToolCall) -> Result<Value, Failure> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    match serde_json::from_str(arguments) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => {
            let text = format!("the arguments of the call `{}` are no JSON object", call.id);
            Err(Failure::new(ErrorKind::Invalid, "invalid_input", text))
        }
    }
}

/// Returns arguments as text, of APIs that may send them as an object.
fn arguments_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
