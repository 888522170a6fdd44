//! JSON in one agreed spelling, so that a signature covers meaning and not layout.
//!
//! Two named forms: [`jcs`] (RFC 8785) for everything new, [`seed`] where the bytes of the older
//! protocol must be matched.

use std::fmt::Write as _;

use sedge_base::ErrorKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

/// The deepest nesting that [`jcs`] writes.
pub const MAX_DEPTH: usize = 64;

/// The largest whole number that every JSON reader keeps exactly (RFC 7493): 2^53 − 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// The value cannot be written as JSON at all.
    #[error("the value is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// A whole number is outside ±(2^53 − 1) and other readers would round it.
    #[error("{0} is too large to be kept exactly by every JSON reader")]
    Integer(Number),
    /// The value is nested too deeply.
    #[error("the value is nested deeper than {MAX_DEPTH} levels")]
    Depth,
}

impl CanonicalError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Returns the RFC 8785 form of a value.
///
/// # Errors
///
/// [`CanonicalError`] when the value is not JSON, is nested deeper than [`MAX_DEPTH`], or holds a
/// whole number beyond [`MAX_INTEGER`].
pub fn jcs<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value).map_err(CanonicalError::NotJson)?;
    check(&value, MAX_DEPTH)?;
    serde_json_canonicalizer::to_vec(&value).map_err(CanonicalError::NotJson)
}

/// Why bytes are not the canonical form of a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There are more bytes than such a value may have.
    #[error("at most {limit} bytes are read here, these are {got}")]
    TooLarge {
        /// The most bytes that are read.
        limit: usize,
        /// How many there are.
        got: usize,
    },
    /// The bytes are not of this form: not JSON, a field too many or too few, another version.
    #[error("the bytes are in no form known here")]
    Form(#[source] serde_json::Error),
    /// The bytes say the same in another spelling than the canonical one.
    #[error("the bytes were rewritten: they are not in canonical form")]
    NotCanonical,
    /// The value has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl ReadError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Form(_) | Self::Canonical(_) => ErrorKind::Invalid,
            Self::NotCanonical => ErrorKind::Corrupt,
        }
    }
}

/// Reads a value from its RFC 8785 form; any other spelling is refused.
///
/// Costs one reading and one writing. Nothing is authenticated by this.
///
/// # Errors
///
/// [`ReadError`] when the bytes are more than `limit`, of another form, or spelled another way.
pub fn read_jcs<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, ReadError> {
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { limit, got: bytes.len() });
    }
    let value: T = serde_json::from_slice(bytes).map_err(ReadError::Form)?;
    if jcs(&value)? != bytes {
        return Err(ReadError::NotCanonical);
    }
    Ok(value)
}

fn check(value: &Value, depth: usize) -> Result<(), CanonicalError> {
    let Some(inner) = depth.checked_sub(1) else { return Err(CanonicalError::Depth) };
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|it| it > MAX_INTEGER) {
                return Err(CanonicalError::Integer(number.clone()));
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|it| check(it, inner)),
        Value::Object(fields) => fields.values().try_for_each(|it| check(it, inner)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// Returns the seed form of a value (origins 4.1, canonical JSON).
///
/// Keys are sorted by their UTF-8 bytes; no spaces; numbers as `serde_json` prints them; quote,
/// backslash, `\n`, `\r`, `\t` are escaped by name, every other control character (also
/// U+007F to U+009F) as `\u` with four lower-case digits; the rest stands as it is. The value
/// comes from our own code or from `serde_json`'s reader, so its depth is bounded.
pub fn seed(value: &Value) -> String {
    let mut out = String::with_capacity(256);
    write_seed(value, &mut out);
    out
}

fn write_seed(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Value::Number(it) => out.push_str(&it.to_string()),
        Value::String(it) => write_seed_text(it, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_seed(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (at, (key, field)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_seed_text(key, out);
                out.push(':');
                write_seed(field, out);
            }
            out.push('}');
        }
    }
}

fn write_seed_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it if it.is_control() => {
                // Writing to a `String` does not fail.
                let _ok = write!(out, "\\u{:04x}", u32::from(it));
            }
            it => out.push(it),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_seed(value: &Value, expected: &str) {
        assert_eq!(seed(value), expected);
    }

    #[test]
    fn vector_003_17() {
        check_seed(&json!({"z":1,"a":2,"m":3}), r#"{"a":2,"m":3,"z":1}"#);
        check_seed(&json!({"b":{"z":1,"a":2},"a":[3,2,1]}), r#"{"a":[3,2,1],"b":{"a":2,"z":1}}"#);
    }

    #[test]
    fn seed_escapes() {
        let text = "\"\\\n\r\t\u{8}\u{7f}\u{9f}é/";
        check_seed(&json!(text), "\"\\\"\\\\\\n\\r\\t\\u0008\\u007f\\u009fé/\"");
        check_seed(&json!([0.5, -1, null, true]), "[0.5,-1,null,true]");
    }

    #[test]
    fn jcs_sorts_by_utf_16_and_refuses_what_readers_would_round() {
        // U+E000 sorts before U+10000 in UTF-8, after it in UTF-16.
        let value = json!({"\u{e000}": 1, "\u{10000}": 2});
        assert_eq!(jcs(&value).unwrap(), "{\"\u{10000}\":2,\"\u{e000}\":1}".as_bytes());
        assert_eq!(jcs(&MAX_INTEGER).unwrap(), b"9007199254740991");
        assert!(matches!(jcs(&(MAX_INTEGER + 1)), Err(CanonicalError::Integer(_))));
        assert!(matches!(jcs(&(i64::MIN)), Err(CanonicalError::Integer(_))));
    }

    #[test]
    fn jcs_refuses_deep_nesting() {
        let mut value = json!(1);
        for _ in 0..MAX_DEPTH {
            value = json!([value]);
        }
        assert!(matches!(jcs(&value), Err(CanonicalError::Depth)));
    }
}
