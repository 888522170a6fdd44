//! Receipts as one file that a stranger can verify.

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};

use super::{Anchor, Receipt};
use crate::canonical::{self, CanonicalError};

/// The largest exported file that is read, in bytes.
pub const MAX_EXPORT_BYTES: usize = 64 << 20;

/// The most receipts in one exported file.
pub const MAX_EXPORT_RECEIPTS: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    #[serde(rename = "sedge-receipts/1")]
    V1,
}

/// Receipts with the version of their file's form.
///
/// The file is the RFC 8785 form of this, with or without a line end behind it, and nothing else:
/// any other spelling is refused, so that no byte of it can change unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    version: Version,
    receipts: Vec<Receipt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<Anchor>,
}

/// Why a file holds no receipts that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file is too large.
    #[error("an exported file has at most {MAX_EXPORT_BYTES} bytes")]
    TooLarge,
    /// The file holds too many receipts.
    #[error("an exported file has at most {MAX_EXPORT_RECEIPTS} receipts")]
    TooMany,
    /// The file is not of this form: not JSON, a field too many or too few, another version.
    #[error("the file is not a list of receipts in a form known here")]
    Form(#[source] serde_json::Error),
    /// The file says the same in another spelling than the canonical one.
    #[error("the file was rewritten: it is not in canonical form")]
    NotCanonical,
    /// A number is too large for JSON.
    #[error("a receipt cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl DecodeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge | Self::TooMany => ErrorKind::Exhausted,
            Self::Form(_) | Self::Canonical(_) => ErrorKind::Invalid,
            Self::NotCanonical => ErrorKind::Corrupt,
        }
    }
}

impl Export {
    /// Puts receipts together for export, in this order.
    pub const fn new(receipts: Vec<Receipt>) -> Self {
        Self { version: Version::V1, receipts, anchor: None }
    }

    /// Puts one receipt and its place in the executor's chain together for export.
    pub fn anchored(receipt: Receipt, anchor: Anchor) -> Self {
        Self { version: Version::V1, receipts: vec![receipt], anchor: Some(anchor) }
    }

    /// Returns where the first receipt stands in its executor's chain, if the file says so; not yet
    /// verified.
    pub const fn anchor(&self) -> Option<&Anchor> {
        self.anchor.as_ref()
    }

    /// Returns the receipts, not yet verified.
    pub fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }

    /// Returns the file's bytes, without a line end.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn encode(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::jcs(self)
    }

    /// Reads a file's bytes; the receipts in it are still to be verified.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], which says what is wrong with the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_EXPORT_BYTES {
            return Err(DecodeError::TooLarge);
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let export: Self = serde_json::from_slice(bytes).map_err(DecodeError::Form)?;
        if export.receipts.len() > MAX_EXPORT_RECEIPTS {
            return Err(DecodeError::TooMany);
        }
        if export.encode()? != bytes {
            return Err(DecodeError::NotCanonical);
        }
        Ok(export)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::receipt;
    use super::*;

    #[track_caller]
    fn check_refused(from: &str, to: &str, expected: &str) {
        let text = String::from_utf8(Export::new(vec![receipt()]).encode().unwrap()).unwrap();
        assert!(text.contains(from));
        let refused = Export::decode(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let export = Export::new(vec![receipt()]);
        let mut bytes = export.encode().unwrap();
        assert_eq!(Export::decode(&bytes).unwrap(), export);
        bytes.push(b'\n');
        assert_eq!(Export::decode(&bytes).unwrap(), export);
    }

    #[test]
    fn other_forms_are_refused() {
        const UNKNOWN: &str = "the file is not a list of receipts in a form known here";
        check_refused("sedge-receipts/1", "sedge-receipts/9", UNKNOWN);
        check_refused("\"status\"", "\"extra\":1,\"status\"", UNKNOWN);
        check_refused(
            "\"status\":",
            "\"status\": ",
            "the file was rewritten: it is not in canonical form",
        );
    }
}
