//! A token that this node made for one machine: good once, for a day.

use super::PAIR_TOKEN;
use crate::admission::book::Book;
use crate::admission::level::TrustLevel;
use crate::admission::proof::Proof;
use crate::admission::record::Record;
use crate::admission::refusal::Refusal;
use crate::admission::{Grant, Knock, Mode, Verdict};

/// The tokens of the book.
#[derive(Debug)]
pub(super) struct PairTokens;

impl Mode for PairTokens {
    fn name(&self) -> &'static str {
        PAIR_TOKEN
    }

    fn judge(&self, knock: &Knock<'_>, book: &mut Book, records: &mut Vec<Record>) -> Verdict {
        let unknown = Verdict::Refused(Refusal::UnknownPairToken);
        let Some(Proof::PairToken { id, mac }) = &knock.answer.proof else {
            return Verdict::Refused(Refusal::NotAllowed);
        };
        let Some(issued) = book.pair_token(id) else { return unknown };
        // Whoever does not know the token learns nothing about it.
        let key = *issued.key.reveal().as_bytes();
        if !knock.transcript.is_proven_by(&key, mac) {
            return unknown;
        }
        if issued.used_by.is_some() {
            return Verdict::Refused(Refusal::UsedPairToken);
        }
        if knock.now >= issued.expires {
            return Verdict::Refused(Refusal::ExpiredPairToken { at: issued.expires });
        }
        issued.used_by = Some(knock.peer());
        records.push(Record::PairToken(issued.clone()));
        Verdict::Admitted(Grant {
            mode: PAIR_TOKEN,
            trust: TrustLevel::Trusted,
            ends: None,
            proof: knock.transcript.owner_proof(&key),
        })
    }
}
