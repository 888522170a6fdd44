//! What every mode must do, whatever it asks for.

use sedge_base::{NodeId, Timestamp};

use super::{Answer, Book, Knock, Mode, Origin, PairToken, Proof, Refusal, Transcript, Verdict};
use crate::signature::{Mac, Signature};

/// Checks a mode that knows the name `edge-1`.
///
/// # Panics
///
/// When it lets in somebody who shows nothing that holds.
pub(super) fn check(mode: &dyn Mode) {
    let name = mode.name();
    assert!(name.bytes().all(|it| it.is_ascii_lowercase() || it == b'-'), "{name}");
    let transcript = |name: &str| Transcript {
        owner: NodeId::from_bytes([1; 32]),
        joiner: NodeId::from_bytes([2; 32]),
        challenge: [3; 32],
        nonce: [4; 32],
        name: name.to_owned(),
    };
    let forged = Mac::from_bytes([5; 32]);
    let token = PairToken::from_bytes([6; 32]);
    let proofs = [
        None,
        Some(Proof::Token { mac: forged }),
        Some(Proof::PairToken { id: token.id(), mac: forged }),
    ];
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut book = Book::default();
    book.issue(token.issue(now, super::PAIR_TOKEN_TTL), now).unwrap();
    for proof in proofs {
        for claimed in ["edge-1", "edge-2", "\u{0}"] {
            let answer = Answer { signature: Signature::from_bytes([7; 64]), proof };
            let (name_taken, revoked) = (false, false);
            let transcript = &transcript(claimed);
            let origin = Origin::Elsewhere;
            let knock = Knock { transcript, answer: &answer, origin, name_taken, revoked, now };
            let mut records = Vec::new();
            let verdict = mode.judge(&knock, &mut book, &mut records);
            assert!(!matches!(verdict, Verdict::Admitted(_)), "{name}: {verdict:?}");
            assert!(records.is_empty(), "{name}: nothing is kept about a stranger");
            let again = mode.judge(&knock, &mut book, &mut records);
            assert_eq!(again, verdict, "{name}: a second knock is judged as the first");
            let silent =
                matches!(verdict, Verdict::Refused(Refusal::NoModes | Refusal::Banned { .. }));
            assert!(!silent, "{name}: that is for the desk to say");
        }
    }
}
