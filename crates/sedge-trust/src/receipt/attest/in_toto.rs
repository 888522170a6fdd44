//! An in-toto Statement v1 in a DSSE v1 envelope (the specifications of those names).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sedge_base::{ContentId, NodeId};
use serde::{Deserialize, Serialize};

use super::{AttestError, MAX_ATTESTATION_BYTES, Opened, Receipt, VerifyKeys, check_signature};
use crate::canonical;
use crate::identity::Identity;

/// What the payload is.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The statement's form.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// What is said of the subject: the predicate is a receipt.
const PREDICATE_TYPE: &str = "urn:sedge:receipt:1";

/// The one subject's name.
const SUBJECT: &str = "output";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: [EnvelopeSignature; 1],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    keyid: NodeId,
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    form: String,
    subject: [Subject; 1],
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Receipt,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    sha256: ContentId,
}

/// Returns what is signed: DSSE's pre-authentication encoding.
fn signed_text(payload: &[u8]) -> Vec<u8> {
    let mut text =
        format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    text.extend_from_slice(payload);
    text
}

pub(super) fn wrap(receipt: &Receipt, by: &Identity) -> Result<Vec<u8>, AttestError> {
    let digest = Digest { sha256: receipt.body.output_hash };
    let statement = Statement {
        form: STATEMENT_TYPE.to_owned(),
        subject: [Subject { name: SUBJECT.to_owned(), digest }],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: receipt.clone(),
    };
    let payload = canonical::jcs(&statement)?;
    let sig = BASE64.encode(by.sign(&signed_text(&payload)).as_bytes());
    let envelope = Envelope {
        payload: BASE64.encode(&payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: [EnvelopeSignature { keyid: by.node_id(), sig }],
    };
    Ok(canonical::jcs(&envelope)?)
}

pub(super) fn open(file: &[u8], keys: &VerifyKeys) -> Result<Opened, AttestError> {
    let file = file.strip_suffix(b"\n").unwrap_or(file);
    let envelope: Envelope = canonical::read_jcs(file, MAX_ATTESTATION_BYTES)?;
    let Envelope { payload, payload_type, signatures: [EnvelopeSignature { keyid, sig }] } =
        envelope;
    let must = |field, holds: bool| match holds {
        true => Ok(()),
        false => Err(AttestError::Field { field }),
    };
    must("payloadType", payload_type == PAYLOAD_TYPE)?;
    let bytes = |field, text| BASE64.decode(text).map_err(|_| AttestError::Field { field });
    let (payload, signature) = (bytes("payload", payload)?, bytes("sig", sig)?);
    check_signature(keyid, keys, &signed_text(&payload), &signature)?;
    let statement: Statement = canonical::read_jcs(&payload, MAX_ATTESTATION_BYTES)?;
    let Statement { form, subject: [subject], predicate_type, predicate } = statement;
    must("_type", form == STATEMENT_TYPE)?;
    must("predicateType", predicate_type == PREDICATE_TYPE)?;
    let of_output = subject.name == SUBJECT && subject.digest.sha256 == predicate.body.output_hash;
    must("subject", of_output)?;
    Ok(Opened { receipt: predicate })
}
