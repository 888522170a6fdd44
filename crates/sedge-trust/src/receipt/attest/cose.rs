//! `COSE_Sign1` (RFC 9052, section 4.2) with EdDSA (RFC 9053, section 2.2).

use coset::iana::Algorithm;
use coset::{
    CborSerializable as _, ContentType, CoseSign1, CoseSign1Builder, Header, HeaderBuilder,
    RegisteredLabelWithPrivate, TaggedCborSerializable as _,
};
use sedge_base::NodeId;

use super::{AttestError, MAX_ATTESTATION_BYTES, Opened, Receipt, VerifyKeys, check_signature};
use crate::canonical;
use crate::identity::Identity;

/// What the payload is.
const CONTENT: &str = "application/vnd.sedge.receipt+json";

fn header(by: &NodeId) -> Header {
    HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .content_type(CONTENT.to_owned())
        .key_id(by.as_bytes().to_vec())
        .build()
}

pub(super) fn wrap(receipt: &Receipt, by: &Identity) -> Result<Vec<u8>, AttestError> {
    let signed = CoseSign1Builder::new()
        .protected(header(&by.node_id()))
        .payload(canonical::jcs(receipt)?)
        .create_signature(&[], |text| by.sign(text).as_bytes().to_vec())
        .build();
    Ok(signed.to_tagged_vec()?)
}

pub(super) fn open(file: &[u8], keys: &VerifyKeys) -> Result<Opened, AttestError> {
    let signed = CoseSign1::from_tagged_slice(file)?;
    let header = &signed.protected.header;
    let wrong = |field| Err(AttestError::Field { field });
    if header.alg != Some(RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA)) {
        return wrong("alg");
    }
    if header.content_type != Some(ContentType::Text(CONTENT.to_owned())) {
        return wrong("content type");
    }
    let Ok(by) = <[u8; 32]>::try_from(header.key_id.as_slice()) else { return wrong("kid") };
    let by = NodeId::from_bytes(by);
    // One spelling only, and nothing beside what is signed.
    if signed.protected.header.clone().to_vec()? != self::header(&by).to_vec()?
        || !signed.unprotected.is_empty()
        || signed.clone().to_tagged_vec()? != file
    {
        return wrong("header");
    }
    check_signature(by, keys, &signed.tbs_data(&[]), &signed.signature)?;
    let payload = signed.payload.as_deref().unwrap_or_default();
    Ok(Opened { receipt: canonical::read_jcs(payload, MAX_ATTESTATION_BYTES)? })
}
