//! Trust on first use: a person looks at a key once, and says yes or no.
//!
//! The yes belongs to the key that waits, under the name that it claimed: nobody else who claims the
//! name is let in by it (origins, part 5.3, number 3).

use super::TOFU;
use crate::admission::book::Book;
use crate::admission::level::TrustLevel;
use crate::admission::record::Record;
use crate::admission::{Grant, Knock, Mode, Verdict};

/// A person decides.
#[derive(Debug)]
pub(super) struct Tofu;

impl Mode for Tofu {
    fn name(&self) -> &'static str {
        TOFU
    }

    fn judge(&self, knock: &Knock<'_>, book: &mut Book, _: &mut Vec<Record>) -> Verdict {
        let (peer, name) = (knock.peer(), knock.name());
        if book.approval(&peer).is_some_and(|it| it.name == name) {
            return Verdict::Admitted(Grant {
                mode: TOFU,
                trust: TrustLevel::Tofu,
                ends: None,
                proof: None,
            });
        }
        match book.wait(peer, name, knock.now) {
            Ok(()) => Verdict::Waits,
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    fn asks_a_person(&self) -> bool {
        true
    }
}
