//! For trying things out: every program of this machine is let in, nobody from elsewhere.

use super::DEV;
use crate::admission::book::Book;
use crate::admission::level::TrustLevel;
use crate::admission::record::Record;
use crate::admission::refusal::Refusal;
use crate::admission::{Grant, Knock, Mode, Origin, Verdict};

/// Everybody on loopback.
#[derive(Debug)]
pub(super) struct Dev;

impl Mode for Dev {
    fn name(&self) -> &'static str {
        DEV
    }

    fn judge(&self, knock: &Knock<'_>, _: &mut Book, _: &mut Vec<Record>) -> Verdict {
        match knock.origin {
            Origin::Loopback => Verdict::Admitted(Grant {
                mode: DEV,
                trust: TrustLevel::Untrusted,
                ends: None,
                proof: None,
            }),
            Origin::Elsewhere => Verdict::Refused(Refusal::NotLoopback),
        }
    }
}
