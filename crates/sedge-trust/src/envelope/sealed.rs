//! An encrypted payload in JSON: three texts in hexadecimal.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cipher::Sealed;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    ciphertext: String,
    iv: String,
    tag: String,
}

/// Writes the three texts.
pub(super) fn serialize<S: Serializer>(it: &Sealed, to: S) -> Result<S::Ok, S::Error> {
    let Sealed { ciphertext, iv, tag } = it;
    Texts { ciphertext: hex::encode(ciphertext), iv: hex::encode(iv), tag: hex::encode(tag) }
        .serialize(to)
}

/// Reads the three texts.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sealed, D::Error> {
    let Texts { ciphertext, iv, tag } = Texts::deserialize(from)?;
    let mut sealed = Sealed {
        ciphertext: hex::decode(ciphertext).map_err(D::Error::custom)?,
        iv: [0; 12],
        tag: [0; 16],
    };
    hex::decode_to_slice(iv, &mut sealed.iv).map_err(D::Error::custom)?;
    hex::decode_to_slice(tag, &mut sealed.tag).map_err(D::Error::custom)?;
    Ok(sealed)
}
