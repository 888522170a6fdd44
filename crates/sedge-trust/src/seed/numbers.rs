//! A signature as a JSON array of 64 numbers, as the older protocol writes it.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use crate::signature::Signature;

/// Writes the 64 numbers.
pub(super) fn serialize<S: Serializer>(it: &Signature, to: S) -> Result<S::Ok, S::Error> {
    it.as_bytes().as_slice().serialize(to)
}

/// Reads exactly 64 numbers.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
    let bytes = Vec::<u8>::deserialize(from)?;
    let got = bytes.len();
    let bytes = <[u8; 64]>::try_from(bytes)
        .map_err(|_| D::Error::invalid_length(got, &"a signature of 64 numbers"))?;
    Ok(Signature::from_bytes(bytes))
}
