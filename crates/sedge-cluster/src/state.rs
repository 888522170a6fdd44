//! A version of some data with its checksum (seed 000, `SyncState`).

use md5::{Digest, Md5};
use sedge_base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::seconds;

/// Data, which version of it this is, and its checksum.
///
/// The checksum is MD5 in hexadecimal over the data as Python's `json.dumps` writes it with sorted keys
/// (vectors 000-1 to 000-6). It finds accidents and proves nothing. Whole numbers beyond 64 bits are read as
/// fractions and have another checksum than in Python.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncState {
    /// Which version it is; a writer's first is 1.
    pub version: u64,
    /// The data.
    pub data: Map<String, Value>,
    /// The checksum: 32 hexadecimal digits.
    pub checksum: String,
    /// When it was made; written as seconds since 1970.
    #[serde(with = "seconds")]
    pub updated_at: Timestamp,
}

impl SyncState {
    /// Makes a version of data, with its checksum.
    pub fn from_data(data: Map<String, Value>, version: u64, now: Timestamp) -> Self {
        let checksum = checksum(&data);
        Self { version, data, checksum, updated_at: now }
    }

    /// Returns whether the checksum is that of the data.
    pub fn verify(&self) -> bool {
        self.checksum == checksum(&self.data)
    }
}

/// Returns the checksum of data: MD5 of its JSON as Python writes it.
pub fn checksum(data: &Map<String, Value>) -> String {
    let mut text = String::new();
    object(data, &mut text);
    hex::encode(Md5::digest(text.as_bytes()))
}

fn object(data: &Map<String, Value>, to: &mut String) {
    let mut sorted: Vec<_> = data.iter().collect();
    sorted.sort_unstable_by_key(|it| it.0);
    to.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            to.push_str(", ");
        }
        string(key, to);
        to.push_str(": ");
        write(value, to);
    }
    to.push('}');
}

fn write(value: &Value, to: &mut String) {
    match value {
        Value::Null => to.push_str("null"),
        Value::Bool(true) => to.push_str("true"),
        Value::Bool(false) => to.push_str("false"),
        Value::Number(number) if number.is_f64() => {
            to.push_str(&float(number.as_f64().unwrap_or(0.0)));
        }
        Value::Number(number) => to.push_str(&number.to_string()),
        Value::String(text) => string(text, to),
        Value::Array(values) => {
            to.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    to.push_str(", ");
                }
                write(value, to);
            }
            to.push(']');
        }
        Value::Object(data) => object(data, to),
    }
}

/// Writes a text with everything but printable ASCII escaped.
fn string(text: &str, to: &mut String) {
    to.push('"');
    for letter in text.chars() {
        match letter {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            ' '..='~' => to.push(letter),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    to.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    to.push('"');
}

/// Writes a fraction as Python's `repr`: the shortest digits that read back, an exponent below 1e-4 and from
/// 1e16 on.
fn float(number: f64) -> String {
    let short = format!("{number:e}");
    let (digits, exponent) = short.split_once('e').unwrap_or((&short, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = number.to_string();
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn data(value: Value) -> Map<String, Value> {
        let Value::Object(data) = value else { panic!("no object") };
        data
    }

    #[test]
    fn row_083_the_checksums_are_those_of_the_older_api() {
        // Vectors 000-1 to 000-6.
        for (value, sum) in [
            (json!({"readings": [1, 2, 3]}), "e90deb037a3ed15ebaade8e513373d55"),
            (json!({"readings": [4, 5]}), "874ef4c95d0f1cf843c130999984b7e3"),
            (json!({}), "99914b932bd37a50b983c5e7c90ae93b"),
            (json!({"b": 1, "a": 2}), "5e4d14d82c320bafb2f1286fe486d1f8"),
            (json!({"name": "café"}), "80ab9ba885f6ce9893667cc614eda6d3"),
            (json!({"x": 1.0, "y": true, "z": null}), "e03e62e40c44e359580f715c42143815"),
        ] {
            let data = data(value);
            let state = SyncState::from_data(data.clone(), 1, Timestamp::from_millis(1500));
            assert_eq!(state.checksum, sum, "{data:?}");
            assert!(state.verify());
            assert!(!SyncState { checksum: "0".repeat(32), ..state }.verify());
        }
    }

    #[test]
    fn fractions_and_letters_are_written_as_python_writes_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.5, "1.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-1.25e300, "-1.25e+300"),
        ] {
            assert_eq!(float(number), text);
        }
        let mut text = String::new();
        string("a\"\\\n\t\u{7f}é😀", &mut text);
        assert_eq!(text, r#""a\"\\\n\t\u007f\u00e9\ud83d\ude00""#);
    }

    proptest! {
        #[test]
        fn what_is_summed_is_json_of_the_same_value(text in ".{0,40}", number: f64, whole: i64) {
            prop_assume!(number.is_finite());
            let value = json!({ "z": [text.clone(), number, whole], text: null });
            let data = data(value.clone());
            let mut written = String::new();
            object(&data, &mut written);
            prop_assert!(written.is_ascii());
            prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
        }

        #[test]
        fn a_state_reads_back(version: u64, millis in 0..4_000_000_000_000_u64, text in ".{0,20}") {
            let now = Timestamp::from_millis(millis);
            let state = SyncState::from_data(data(json!({ "text": text })), version, now);
            let json = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<SyncState>(&json).unwrap(), state);
        }
    }
}
