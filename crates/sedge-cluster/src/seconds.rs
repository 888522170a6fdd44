//! Dates as the older API writes them: seconds since 1970 with a fraction.

use sedge_base::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// Returns a date as seconds since 1970.
pub(crate) fn of(date: Timestamp) -> f64 {
    date.as_millis() as f64 / 1000.0
}

pub(crate) fn serialize<S: Serializer>(date: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(of(*date))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let seconds = f64::deserialize(from)?;
    // Until the year 9999.
    if !(0.0..253_402_300_800.0).contains(&seconds) {
        return Err(serde::de::Error::custom("a date is seconds from 1970 to 9999"));
    }
    Ok(Timestamp::from_millis((seconds * 1000.0).round() as u64))
}
