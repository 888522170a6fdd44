//! A login: the machines that the owner wrote down answer a challenge, and are let in for a day.

use std::collections::BTreeMap;

use super::{Device, Showing};
use crate::admission::book::Book;
use crate::admission::proof::Proof;
use crate::admission::record::Record;
use crate::admission::refusal::Refusal;
use crate::admission::{Grant, Knock, Mode, SESSION_TIME, Verdict};

const CHALLENGE: &str = "challenge";

/// Each name with what it shows.
#[derive(Debug)]
pub(super) struct Devices(pub(super) BTreeMap<String, Device>);

impl Mode for Devices {
    fn name(&self) -> &'static str {
        CHALLENGE
    }

    fn judge(&self, knock: &Knock<'_>, _: &mut Book, _: &mut Vec<Record>) -> Verdict {
        let Some(Device { shows, trust }) = self.0.get(knock.name()) else {
            return Verdict::Refused(Refusal::NotAllowed);
        };
        let transcript = knock.transcript;
        let (right, proof) = match (shows, &knock.answer.proof) {
            // Another key under this name is no wrong answer of the right one.
            (Showing::Key(key), _) if *key != knock.peer() => {
                return Verdict::Refused(Refusal::IdInUse { name: knock.name().to_owned() });
            }
            (Showing::Key(_), _) => (transcript.is_signed(&knock.answer.signature), None),
            (Showing::Secret(secret), Some(Proof::Token { mac })) => {
                let secret = secret.reveal().as_bytes();
                (transcript.is_proven_by(secret, mac), transcript.owner_proof(secret))
            }
            (Showing::Secret(_), _) => (false, None),
        };
        if !right {
            return Verdict::Refused(Refusal::WrongAnswer);
        }
        let ends = Some(knock.now.plus(SESSION_TIME));
        Verdict::Admitted(Grant { mode: CHALLENGE, trust: *trust, ends, proof })
    }
}
