//! A receipt in an envelope that other tools read, signed once more by the node that hands it out.
//!
//! The envelope's signature says who handed it out; what happened is said by the receipt inside, whose
//! own signatures are verified too.

mod cose;
mod in_toto;

use std::str::FromStr;

use sedge_base::{ErrorKind, NodeId};

use super::{Receipt, Verified, VerifyError, VerifyKeys};
use crate::canonical::{CanonicalError, ReadError};
use crate::identity::Identity;
use crate::signature::{BadSignature, Signature, verify as verify_signature};

/// The largest envelope that is read, in bytes.
pub const MAX_ATTESTATION_BYTES: usize = 64 << 10;

/// An envelope's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `COSE_Sign1` of RFC 9052, tagged, around the RFC 8785 form of the receipt.
    Cose,
    /// An in-toto Statement v1 about the task's output in a DSSE v1 envelope.
    InToto,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Cose, Self::InToto];

    /// Returns its name, such as `in-toto`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cose => "cose",
            Self::InToto => "in-toto",
        }
    }

    /// Returns the media type of a file of this form.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Cose => "application/cose; cose-type=\"cose-sign1\"",
            Self::InToto => "application/vnd.in-toto+dsse",
        }
    }

    /// Returns the form that a file seems to have. Nothing is verified by this.
    pub fn of(file: &[u8]) -> Option<Self> {
        match file.first() {
            Some(0xd2) => Some(Self::Cose),
            Some(b'{') if file.starts_with(b"{\"payload\":") => Some(Self::InToto),
            _ => None,
        }
    }
}

impl FromStr for Form {
    type Err = UnknownForm;

    fn from_str(text: &str) -> Result<Self, UnknownForm> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or(UnknownForm)
    }
}

/// No form has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a receipt's envelope is `cose` or `in-toto`")]
pub struct UnknownForm;

/// Why an envelope is not made or not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// It is larger than any.
    #[error("a receipt's envelope has at most {MAX_ATTESTATION_BYTES} bytes")]
    TooLarge,
    /// It is not CBOR of that form.
    #[error("the file is no COSE_Sign1")]
    Cose(#[from] coset::CoseError),
    /// It is not JSON of that form.
    #[error("the file is no envelope of a statement")]
    Read(#[from] ReadError),
    /// A header or field has another value than it must have, or is there and must not be.
    #[error("`{field}` is not what it must be")]
    Field {
        /// Which one.
        field: &'static str,
    },
    /// Neither the executor nor the requester handed it out.
    #[error("the envelope is by {named:?}, who had no part in the task")]
    Stranger {
        /// Who did.
        named: NodeId,
    },
    /// The envelope's signature is wrong.
    #[error("the envelope is not signed by the node that it names")]
    Signature(#[source] BadSignature),
    /// The receipt inside does not verify.
    #[error("the receipt in the envelope does not verify")]
    Receipt(#[from] VerifyError),
    /// A number is too large for JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl AttestError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge => ErrorKind::Exhausted,
            Self::Cose(_) | Self::Field { .. } => ErrorKind::Invalid,
            Self::Read(err) => err.kind(),
            Self::Stranger { .. } => ErrorKind::Denied,
            Self::Signature(err) => err.kind(),
            Self::Receipt(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
        }
    }
}

/// Puts a receipt into an envelope and signs that as the node that hands it out.
///
/// # Errors
///
/// [`AttestError`] when a number of the receipt is too large for JSON.
pub fn attest(receipt: &Receipt, form: Form, by: &Identity) -> Result<Vec<u8>, AttestError> {
    match form {
        Form::Cose => cose::wrap(receipt, by),
        Form::InToto => in_toto::wrap(receipt, by),
    }
}

/// What an envelope holds, once its own signature is verified.
struct Opened {
    receipt: Receipt,
}

/// Verifies an envelope and the receipt inside against keys that come from elsewhere.
///
/// The envelope must be by the executor or by the requester. No byte of it can change unseen.
///
/// # Errors
///
/// [`AttestError`], which says what does not hold.
pub fn verify_attestation(
    file: &[u8],
    form: Form,
    keys: &VerifyKeys,
) -> Result<(Receipt, Verified), AttestError> {
    if file.len() > MAX_ATTESTATION_BYTES {
        return Err(AttestError::TooLarge);
    }
    let Opened { receipt } = match form {
        Form::Cose => cose::open(file, keys)?,
        Form::InToto => in_toto::open(file, keys)?,
    };
    let verified = receipt.verify(keys)?;
    Ok((receipt, verified))
}

/// Checks an envelope's signature by the node that it names, which must have had a part in the task.
fn check_signature(
    named: NodeId,
    keys: &VerifyKeys,
    text: &[u8],
    signature: &[u8],
) -> Result<(), AttestError> {
    if named != keys.executor && named != keys.requester {
        return Err(AttestError::Stranger { named });
    }
    let Ok(signature) = signature.try_into() else {
        return Err(AttestError::Field { field: "signature" });
    };
    verify_signature(&named, text, &Signature::from_bytes(signature))
        .map_err(AttestError::Signature)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{executor, keys, receipt, requester};
    use super::*;

    #[test]
    fn both_ends_hand_it_out_in_both_forms() {
        for form in Form::ALL {
            assert_eq!(form.name().parse(), Ok(form));
            for by in [executor(), requester()] {
                let file = attest(&receipt(), form, &by).unwrap();
                assert_eq!(Form::of(&file), Some(form));
                let (inside, verified) = verify_attestation(&file, form, &keys()).unwrap();
                assert_eq!((inside, verified.countersigned), (receipt(), true));
            }
            let stranger = attest(&receipt(), form, &Identity::from_bytes(&[3; 64])).unwrap();
            let refused = verify_attestation(&stranger, form, &keys()).unwrap_err();
            assert!(matches!(refused, AttestError::Stranger { .. }), "{refused}");
        }
    }

    #[test]
    fn no_byte_changes_unseen() {
        for form in Form::ALL {
            let file = attest(&receipt(), form, &executor()).unwrap();
            for at in 0..file.len() {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << (at % 8);
                assert!(verify_attestation(&flipped, form, &keys()).is_err(), "{form:?} byte {at}");
            }
            let mut longer = file.clone();
            longer.push(0);
            assert!(verify_attestation(&longer, form, &keys()).is_err());
        }
    }

    #[test]
    fn the_receipt_inside_counts_too() {
        let mut altered = receipt();
        altered.body.used.fuel += 1;
        for form in Form::ALL {
            let file = attest(&altered, form, &executor()).unwrap();
            let refused = verify_attestation(&file, form, &keys()).unwrap_err();
            assert!(matches!(refused, AttestError::Receipt(_)), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            for form in Form::ALL {
                prop_assert!(verify_attestation(&bytes, form, &keys()).is_err());
            }
        }
    }
}
