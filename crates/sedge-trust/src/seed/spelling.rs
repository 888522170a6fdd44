//! Keys and hashes in one spelling, so that a changed letter is never read as the same value.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

/// Reads a value that is written exactly as we would write it.
pub(super) fn exact<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display> + Display,
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    let value: T = text.parse().map_err(D::Error::custom)?;
    if value.to_string() == text {
        Ok(value)
    } else {
        Err(D::Error::custom("hexadecimal digits are written in lower case"))
    }
}
