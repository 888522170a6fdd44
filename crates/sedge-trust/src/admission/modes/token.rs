//! A secret for each name, written into both configurations beforehand.

use std::collections::BTreeMap;

use sedge_base::Secret;

use super::TOKEN;
use crate::admission::book::Book;
use crate::admission::level::TrustLevel;
use crate::admission::proof::Proof;
use crate::admission::record::Record;
use crate::admission::refusal::Refusal;
use crate::admission::{Grant, Knock, Mode, Verdict};

/// Each name with its secret.
#[derive(Debug)]
pub(super) struct Tokens(pub(super) BTreeMap<String, Secret<String>>);

impl Mode for Tokens {
    fn name(&self) -> &'static str {
        TOKEN
    }

    fn judge(&self, knock: &Knock<'_>, _: &mut Book, _: &mut Vec<Record>) -> Verdict {
        let Some(secret) = self.0.get(knock.name()) else {
            return Verdict::Refused(Refusal::NotAllowed);
        };
        let secret = secret.reveal().as_bytes();
        match &knock.answer.proof {
            Some(Proof::Token { mac }) if knock.transcript.is_proven_by(secret, mac) => {
                Verdict::Admitted(Grant {
                    mode: TOKEN,
                    trust: TrustLevel::Trusted,
                    ends: None,
                    proof: knock.transcript.owner_proof(secret),
                })
            }
            _ => Verdict::Refused(Refusal::WrongToken),
        }
    }
}
