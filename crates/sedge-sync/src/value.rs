//! What stands under a key.

use sedge_base::ErrorKind;
use sedge_trust::canonical::jcs;
use serde::{Deserialize, Serialize, Serializer};

use crate::sealed::SealedValue;
use crate::tensor::TensorRef;

/// The longest soul or key, in bytes.
pub const MAX_NAME: usize = 256;

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 64 << 10;

/// The longest sealed value, in characters of its base64.
pub(crate) const MAX_SEALED: usize = 128 << 10;

/// A value of the graph: `null` (which deletes), a truth value, a finite number, a text, a link, and
/// beyond GUN's a tensor and a value that only holders of a key can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Nothing any more.
    Null,
    /// True or false.
    Bool(bool),
    /// A finite number; a whole one is written without a fraction.
    Number(#[serde(serialize_with = "number")] f64),
    /// A text of up to 64 KiB.
    Text(String),
    /// Another node of the graph.
    Link(Link),
    /// What only holders of the space's key can read.
    Sealed(SealedValue),
    /// A vector of numbers whose bytes travel apart.
    Tensor(TensorRef),
}

/// A link to another node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its soul.
    #[serde(rename = "#")]
    pub soul: String,
}

/// Why something is no value, soul or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A soul or key is empty, too long, or holds control characters.
    #[error("a soul or key has 1 to {MAX_NAME} bytes and no control characters")]
    Name,
    /// A text is too long.
    #[error("a text has at most {MAX_TEXT} bytes")]
    Text,
    /// A number is not finite.
    #[error("a number is finite")]
    Number,
    /// A sealed value is not one.
    #[error("this is no sealed value")]
    Sealed,
    /// A tensor has no or too many numbers.
    #[error("a tensor has 1 to {} finite numbers", crate::tensor::MAX_NUMBERS)]
    Tensor,
}

impl ValueError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

fn number<S: Serializer>(it: &f64, to: S) -> Result<S::Ok, S::Error> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    match it.fract() == 0.0 && it.abs() <= EXACT {
        true => to.serialize_i64(*it as i64),
        false => to.serialize_f64(*it),
    }
}

impl Value {
    /// Checks the value's bounds.
    ///
    /// # Errors
    ///
    /// [`ValueError`] says what is out of bounds.
    pub fn check(&self) -> Result<(), ValueError> {
        match self {
            Self::Null | Self::Bool(_) => Ok(()),
            Self::Number(it) if it.is_finite() => Ok(()),
            Self::Number(_) => Err(ValueError::Number),
            Self::Text(it) if it.len() <= MAX_TEXT => Ok(()),
            Self::Text(_) => Err(ValueError::Text),
            Self::Link(it) => check_name(&it.soul),
            Self::Sealed(it) => it.check(),
            Self::Tensor(it) => it.check(),
        }
    }

    /// Returns the value's JSON text, by which equal states are decided; as `JSON.stringify` writes
    /// what GUN knows.
    pub fn text(&self) -> String {
        // Every value has a canonical form; a number that is not finite does not pass `check`.
        let bytes = jcs(self).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// Checks a soul or key.
///
/// # Errors
///
/// [`ValueError::Name`] when it is none.
pub fn check_name(name: &str) -> Result<(), ValueError> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control);
    fits.then_some(()).ok_or(ValueError::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(value.text(), expected);
        assert_eq!(serde_json::to_string(&value).unwrap().replace("1e21", "1e+21"), expected);
        assert_eq!(serde_json::from_str::<Value>(expected).unwrap(), value);
    }

    #[test]
    fn values_are_spelled_as_json_stringify_spells_them() {
        check("null", "null");
        check("true", "true");
        check("1.0", "1");
        check("1e21", "1e+21");
        check(r#""a\u0001\n/é""#, r#""a\u0001\n/é""#);
        check(r##"{"#":"a"}"##, r##"{"#":"a"}"##);
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for json in ["[1]", "{}", r##"{"#":"a","b":1}"##, r#"{"a":1}"#, r##"{"#":1}"##] {
            assert!(serde_json::from_str::<Value>(json).is_err(), "{json}");
        }
        assert_eq!(Value::Number(f64::NAN).check(), Err(ValueError::Number));
        assert_eq!(Value::Text("a".repeat(MAX_TEXT + 1)).check(), Err(ValueError::Text));
        assert_eq!(check_name(""), Err(ValueError::Name));
        assert_eq!(check_name("a\n"), Err(ValueError::Name));
    }
}
