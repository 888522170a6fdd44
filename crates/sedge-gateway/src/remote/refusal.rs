//! What a provider's no means to whoever asked.

use sedge_base::ErrorKind;
use sedge_capability::Failure;
use serde_json::Value;

/// The most of a provider's own words that is handed on, in characters.
const LONGEST_QUOTE: usize = 300;

/// What a provider says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Its sentence.
    message: String,
    /// Its words for programs.
    words: String,
    /// A status among them.
    status: Option<u16>,
}

impl Said {
    /// Reads a body or an object of a stream that tells of an error; `None` when it does not.
    ///
    /// OpenAI, Anthropic and Google put an object under `error`, Ollama a text; Mistral has the
    /// fields at the top.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let said = match &value["error"] {
            Value::Null if value["object"] == "error" || value["type"] == "error" => value,
            Value::Null | Value::Bool(false) => return None,
            Value::String(text) => return Some(Self::sentence(text)),
            error => error,
        };
        let message = said["message"].as_str().unwrap_or_default();
        let words = ["type", "code", "status"].into_iter().filter_map(|it| said[it].as_str());
        let status = said["code"].as_u64().or(said["status"].as_u64());
        Some(Self {
            message: message.to_owned(),
            words: words.collect::<Vec<_>>().join(" ").to_ascii_lowercase(),
            status: status.and_then(|it| u16::try_from(it).ok()),
        })
    }

    /// Reads the body of a no; some say it outside of every `error`.
    pub(super) fn of_body(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Self::sentence("") };
        Self::of(&value).unwrap_or_else(|| {
            let texts = ["message", "detail"].into_iter().filter_map(|it| value[it].as_str());
            Self::sentence(&texts.collect::<Vec<_>>().join(" "))
        })
    }

    fn sentence(text: &str) -> Self {
        Self { message: text.to_owned(), words: String::new(), status: None }
    }

    /// Returns the status that an error inside of a good answer would have had.
    pub(super) fn status(&self) -> u16 {
        let has = |words: &[&str]| words.iter().any(|it| self.words.contains(it));
        match self.status {
            Some(status) if (400..600).contains(&status) => status,
            _ if has(&["rate_limit", "resource_exhausted", "insufficient_quota"]) => 429,
            _ if has(&["authentication", "invalid_api_key", "unauthenticated"]) => 401,
            _ if has(&["permission"]) => 403,
            _ if has(&["not_found"]) => 404,
            _ if self.is_about_length() || has(&["invalid"]) => 400,
            _ if self.words.is_empty() && self.message.contains("not found") => 404,
            _ => 503,
        }
    }

    fn is_about_length(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        let said = [
            "context length",
            "context window",
            "context size",
            "prompt is too long",
            "input token count",
            "maximum context",
            "too many tokens",
        ];
        self.words.contains("context_length")
            || self.words.contains("exceed_context")
            || said.iter().any(|it| message.contains(it))
    }
}

/// Returns the failure for a no of this status. `retry_after` is how long the provider asks to be
/// left alone, in seconds.
pub(super) fn failure(
    provider: &str,
    status: u16,
    said: &Said,
    retry_after: Option<u64>,
) -> Failure {
    let quote = match tidy(&said.message) {
        text if text.is_empty() => String::new(),
        text => format!(": {text}"),
    };
    let is_length = matches!(status, 400 | 413 | 422 | 500) && said.is_about_length();
    let (kind, code, text) = match status {
        _ if is_length => (
            ErrorKind::Invalid,
            "context_length_exceeded",
            format!("the conversation is too long for `{provider}`{quote}"),
        ),
        // What it says may have a part of the key in it.
        401 => (
            ErrorKind::Unavailable,
            "provider_key_refused",
            format!("`{provider}` refuses the key of the node that asked it"),
        ),
        403 => (
            ErrorKind::Unavailable,
            "provider_denied",
            format!("`{provider}` does not let the node that asked it do that"),
        ),
        402 | 429 => {
            let wait = match retry_after {
                Some(seconds) => format!("; it asks to wait {seconds} s"),
                None => String::new(),
            };
            let text = format!("`{provider}` takes no more for now{wait}{quote}");
            (ErrorKind::Exhausted, "provider_rate_limited", text)
        }
        404 => (
            ErrorKind::NotFound,
            "provider_has_no_model",
            format!("`{provider}` has no such model{quote}"),
        ),
        408 => {
            (ErrorKind::Timeout, "provider_timeout", format!("`{provider}` gave up waiting{quote}"))
        }
        300..400 => (
            ErrorKind::Unavailable,
            "provider_redirects",
            format!("`{provider}` sends its callers elsewhere, where a key does not follow"),
        ),
        400..500 => (
            ErrorKind::Invalid,
            "provider_refused_input",
            format!("`{provider}` does not take this{quote}"),
        ),
        _ => (
            ErrorKind::Unavailable,
            "provider_failed",
            format!("`{provider}` failed with status {status}{quote}"),
        ),
    };
    Failure::new(kind, code, text)
}

/// Returns a provider's own words in one line of bounded length.
fn tidy(text: &str) -> String {
    let words: Vec<&str> = text.split(|it: char| it.is_whitespace() || it.is_control()).collect();
    let line = words.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
    let end = line.char_indices().nth(LONGEST_QUOTE).map_or(line.len(), |(at, _)| at);
    line[..end].trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: Expect) {
        let failure = failure("p", status, &Said::of_body(body.as_bytes()), None);
        expected.assert_eq(&format!("{} {}: {failure}", failure.kind.name(), failure.code));
    }

    #[test]
    fn limits_are_told_with_and_without_a_time() {
        let body = r#"{"error":{"message":"Rate limit reached.","type":"tokens","code":"rate_limit_exceeded"}}"#;
        check(
            429,
            body,
            expect![
                "exhausted provider_rate_limited: `p` takes no more for now: Rate limit reached"
            ],
        );
        let said = Said::of_body(b"");
        let told = failure("p", 429, &said, Some(20)).to_string();
        assert_eq!(told, "`p` takes no more for now; it asks to wait 20 s");
    }

    #[test]
    fn a_refused_key_is_never_quoted() {
        let body = r#"{"error":{"message":"Incorrect API key provided: sk-ab***yz.","code":"invalid_api_key"}}"#;
        check(
            401,
            body,
            expect![
                "unavailable provider_key_refused: `p` refuses the key of the node that asked it"
            ],
        );
    }

    #[test]
    fn a_conversation_that_is_too_long_is_the_askers() {
        let long = expect![
            "invalid context_length_exceeded: the conversation is too long for `p`: prompt is too long: 9 tokens > 8 maximum"
        ];
        let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#;
        check(400, body, long);
    }

    #[test]
    fn what_a_model_or_an_input_lacks_is_told_in_the_providers_words() {
        check(
            404,
            r#"{"error":"model 'x' not found"}"#,
            expect!["not_found provider_has_no_model: `p` has no such model: model 'x' not found"],
        );
        check(
            422,
            r#"{"object":"error","message":"bad\u001b[2J\n role","type":"invalid_request_error"}"#,
            expect!["invalid provider_refused_input: `p` does not take this: bad [2J role"],
        );
        check(
            503,
            "<html>busy</html>",
            expect!["unavailable provider_failed: `p` failed with status 503"],
        );
    }

    #[test]
    fn an_error_inside_a_good_answer_has_the_status_that_it_means() {
        let status =
            |text: &str| Said::of(&serde_json::from_str(text).unwrap()).map(|it| it.status());
        for (text, expected) in [
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#, Some(503)),
            (r#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}"#, Some(429)),
            (r#"{"error":{"type":"rate_limit_error"}}"#, Some(429)),
            (r#"{"error":"model not found"}"#, Some(404)),
            (r#"{"error":{"code":"context_length_exceeded"}}"#, Some(400)),
            (r#"{"error":null,"choices":[]}"#, None),
            (r#"{"choices":[]}"#, None),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
    }
}
