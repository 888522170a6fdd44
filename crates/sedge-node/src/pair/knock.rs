//! A knock without a code, both sides.
//!
//! ```text
//! joiner                                owner's node
//!   knock: name, nonce   →
//!                        ←   challenge
//!   answer               →
//!                        ←   waits, if a person has to decide
//!                        ←   welcome with the owner's own proof, or a refusal
//! ```
//!
//! Both node ids are what the transport has proven. A joiner that typed a secret believes nobody who
//! does not prove to know it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Timestamp};
use sedge_capability::Failure;
use sedge_members::PairFor;
use sedge_net::{Conn, Frame, PathClass};
use sedge_trust::admission::{
    Answer, Grant, Judged, Knock, NONCE_BYTES, Origin, Refusal, Transcript, TrustLevel, Typed,
    Verdict, WAITING_TIME,
};
use sedge_trust::{Mac, SessionPublicKey, TreeHash};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::EXCHANGE_WITHIN;
use super::enroll::{Newcomer, Welcome, enroll};
use super::frames::{ANSWER, CHALLENGE, KNOCK, Line, WAITS, WELCOME, malformed};
use crate::admission::{Admitted, Decision, WaitingPlace};
use crate::config::{NAME_RULE, check_name};
use crate::node::{Node, internal};

/// The most addresses that a joiner may name.
const MAX_ADDRESSES: usize = 16;

/// What a joiner says first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) session_key: SessionPublicKey,
    pub(super) addresses: Vec<SocketAddr>,
    /// 32 bytes that the joiner made up for this knock.
    pub(super) nonce: TreeHash,
}

/// What it is answered with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// 32 bytes that the owner's node made up for this knock.
    challenge: TreeHash,
    /// The node's name, for people.
    name: String,
}

/// A person has to decide.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waits {
    /// Why the modes before did not let it in.
    refusals: Vec<Failure>,
}

/// Come in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComeIn {
    welcome: Welcome,
    mode: String,
    trust: TrustLevel,
    ends: Option<Timestamp>,
    proof: Option<Mac>,
}

fn failure(refusal: &Refusal) -> Failure {
    Failure::new(refusal.kind(), refusal.code(), refusal)
}

fn too_slow() -> Failure {
    let text = format!("the other side did not finish within {EXCHANGE_WITHIN:?}");
    Failure::new(ErrorKind::Timeout, "pairing_timeout", text)
}

/// Somebody at the door, after they answered the challenge.
struct Stranger {
    head: Head,
    transcript: Transcript,
    answer: Answer,
    origin: Origin,
}

impl Stranger {
    fn knock(&self, node: &Node) -> Knock<'_> {
        let peer = self.transcript.joiner;
        Knock {
            transcript: &self.transcript,
            answer: &self.answer,
            origin: self.origin,
            name_taken: node.members.is_name_of_another(&self.head.name, &peer),
            revoked: node.members.is_struck(&peer),
            now: node.clock.now(),
        }
    }
}

/// The owner's side: admits whoever the desk lets in. Returns the new member's name.
pub(super) async fn admit(
    node: &Arc<Node>,
    conn: &Conn,
    line: &mut Line,
    first: &Frame,
) -> Result<String, Failure> {
    if !node.members.is_pairing(PairFor::Admission) {
        let text = "this machine admits by a code only; `sedge invite` there makes one";
        return Err(Failure::new(ErrorKind::Denied, "codes_only", text));
    }
    let asking = hear(node, conn, line, first);
    let stranger =
        tokio::time::timeout(EXCHANGE_WITHIN, asking).await.map_err(|_| too_slow())??;
    let (judged, place) = node.reception.knock(&stranger.knock(node)).await?;
    note(node, &stranger, &judged).await;
    let grant = match (judged.verdict, place) {
        (Verdict::Admitted(grant), _) => grant,
        (Verdict::Refused(refusal), _) => return Err(failure(&refusal)),
        (Verdict::Waits, None) => return Err(internal("a place at the door was lost")),
        (Verdict::Waits, Some(place)) => {
            let refusals = judged.refusals.iter().map(|(_, it)| failure(it)).collect();
            line.write(Frame::json(WAITS, &Waits { refusals }).map_err(internal)?).await?;
            wait(node, conn, &stranger, place).await?
        }
    };
    come_in(node, line, stranger, grant).await
}

/// Asks the challenge and hears the answer.
async fn hear(
    node: &Node,
    conn: &Conn,
    line: &mut Line,
    first: &Frame,
) -> Result<Stranger, Failure> {
    let mut head: Head = first.parse().map_err(|_| malformed())?;
    if check_name(&head.name).is_none() {
        let text = format!("a node's name must be {NAME_RULE}");
        return Err(Failure::new(ErrorKind::Invalid, "bad_name", text));
    }
    if head.session_key.is_missing() {
        return Err(malformed());
    }
    head.addresses.truncate(MAX_ADDRESSES);
    let challenge = Transcript::fresh().map_err(internal)?;
    let asked = Asked { challenge: TreeHash::from_bytes(challenge), name: node.name.clone() };
    line.write(Frame::json(CHALLENGE, &asked).map_err(internal)?).await?;
    let answer = line.read(ANSWER).await?.parse().map_err(|_| malformed())?;
    let transcript = Transcript {
        owner: node.id(),
        joiner: conn.peer(),
        challenge,
        nonce: *head.nonce.as_bytes(),
        name: head.name.clone(),
    };
    let origin = match conn.path() {
        PathClass::Local => Origin::Loopback,
        PathClass::Lan | PathClass::Direct | PathClass::Relayed => Origin::Elsewhere,
    };
    Ok(Stranger { head, transcript, answer, origin })
}

/// Waits until a person decides, or the stranger leaves.
async fn wait(
    node: &Arc<Node>,
    conn: &Conn,
    stranger: &Stranger,
    mut place: WaitingPlace<'_>,
) -> Result<Grant, Failure> {
    let cancel = node.scope.cancel();
    let decision = tokio::select! {
        biased;
        decision = &mut place.decision => {
            decision.unwrap_or(Decision::Refused(Refusal::Replaced))
        }
        gone = conn.closed() => {
            let text = format!("the other side left: {gone}");
            return Err(Failure::new(ErrorKind::Cancelled, "left", text));
        }
        () = tokio::time::sleep(WAITING_TIME) => Decision::Refused(Refusal::Pending),
        () = cancel.cancelled() => Decision::Refused(Refusal::Pending),
    };
    let judged = match decision {
        // The approval is on disk: it is judged as it would be after a restart.
        Decision::Approved => node.reception.knock(&stranger.knock(node)).await?.0,
        Decision::Rejected => node.reception.go_on(&stranger.knock(node)).await?,
        Decision::Refused(refusal) => Judged {
            verdict: Verdict::Refused(refusal.clone()),
            records: Vec::new(),
            refusals: vec![("desk", refusal)],
        },
    };
    note(node, stranger, &judged).await;
    match judged.verdict {
        Verdict::Admitted(grant) => Ok(grant),
        Verdict::Refused(refusal) => Err(failure(&refusal)),
        Verdict::Waits => Err(failure(&Refusal::Pending)),
    }
}

/// Makes the stranger a member and says so.
async fn come_in(
    node: &Arc<Node>,
    line: &mut Line,
    stranger: Stranger,
    grant: Grant,
) -> Result<String, Failure> {
    let Grant { mode, trust, ends, proof } = grant;
    let Head { name, session_key, addresses, .. } = stranger.head;
    let peer = stranger.transcript.joiner;
    let newcomer = Newcomer { node: peer, name: name.clone(), session_key, addresses, ends };
    let welcome = enroll(node, newcomer).await?;
    node.audit("admission.admitted", &peer, json!({ "name": name, "mode": mode, "trust": trust }))
        .await;
    let come_in = ComeIn { welcome, mode: mode.to_owned(), trust, ends, proof };
    line.write(Frame::json(WELCOME, &come_in).map_err(internal)?).await?;
    Ok(name)
}

/// Writes down what somebody may have to answer for: guesses, names of others, bans.
async fn note(node: &Node, stranger: &Stranger, judged: &Judged) {
    let (peer, name) = (stranger.transcript.joiner, &stranger.head.name);
    let refused = matches!(judged.verdict, Verdict::Refused(_));
    let last = judged.refusals.len().saturating_sub(1);
    for (at, (mode, refusal)) in judged.refusals.iter().enumerate() {
        let kind = match refusal {
            Refusal::IdInUse { .. } => "admission.id_in_use",
            // Who is banned is written down once; what they try meanwhile must not fill the audit.
            Refusal::Banned { .. } => continue,
            _ if (refused && at == last) || refusal.kind() == ErrorKind::Unauthenticated => {
                "admission.refused"
            }
            _ => continue,
        };
        let detail = json!({
            "name": name, "mode": mode, "code": refusal.code(), "reason": refusal.to_string(),
        });
        node.audit(kind, &peer, detail).await;
    }
    for record in &judged.records {
        if let sedge_trust::admission::Record::Ban(ban) = record {
            let detail = json!({ "name": name, "until": ban.until, "reason": ban.reason });
            node.audit("admission.banned", &peer, detail).await;
        }
    }
}

/// What the joiner's side has in hand.
pub(super) struct Bid<'a> {
    pub(super) head: &'a Head,
    pub(super) typed: Option<&'a Typed>,
    /// Told when a person has to decide, with the name of the other node.
    pub(super) waits: &'a (dyn Fn(NodeId, &str) + Send + Sync),
    /// How long that person may take.
    pub(super) wait: Duration,
}

/// The joiner's side: knocks, answers, waits if it has to, returns the welcome.
pub(super) async fn ask(
    conn: &Conn,
    node: &Node,
    bid: Bid<'_>,
) -> Result<(Welcome, Admitted), Failure> {
    let Bid { head, typed, waits, wait } = bid;
    let opening = async {
        let mut line = Line::open(conn).await?;
        line.write(Frame::json(KNOCK, head).map_err(internal)?).await?;
        let asked: Asked = line.read(CHALLENGE).await?.parse().map_err(|_| malformed())?;
        let transcript = Transcript {
            owner: conn.peer(),
            joiner: node.id(),
            challenge: *asked.challenge.as_bytes(),
            nonce: *head.nonce.as_bytes(),
            name: head.name.clone(),
        };
        let answer = Answer::new(&node.identity, &transcript, typed);
        line.write(Frame::json(ANSWER, &answer).map_err(internal)?).await?;
        let next = line.next().await?;
        Ok::<_, Failure>((line, transcript, asked.name, next))
    };
    let opened = tokio::time::timeout(EXCHANGE_WITHIN, opening).await.map_err(|_| too_slow())?;
    let (mut line, transcript, name, mut next) = opened?;
    if next.kind == WAITS {
        let Waits { refusals } = next.parse().map_err(|_| malformed())?;
        if typed.is_some() {
            return Err(not_taken(&refusals));
        }
        waits(conn.peer(), &name);
        let decided = tokio::time::timeout(wait, line.next()).await;
        next = decided.map_err(|_| failure(&Refusal::Pending))??;
    }
    if next.kind != WELCOME {
        return Err(malformed());
    }
    let ComeIn { welcome, mode, trust, ends, proof } = next.parse().map_err(|_| malformed())?;
    let proven =
        |it: &Typed| proof.as_ref().is_some_and(|proof| it.is_known_to_owner(&transcript, proof));
    if !typed.is_none_or(proven) {
        let text = "the other side did not prove that it knows the token; somebody may be between";
        return Err(Failure::new(ErrorKind::Unauthenticated, "owner_unproven", text));
    }
    conn.close(sedge_net::CloseReason::Done);
    Ok((welcome, Admitted { mode, trust, ends }))
}

/// The token was not taken, and a person would be asked: nothing shows then that the other side is the
/// right one, so that the joiner's own person has to say that they want this.
fn not_taken(refusals: &[Failure]) -> Failure {
    let why = refusals.last().map_or("it was not asked for", |it| it.message.as_str());
    let text = format!("{}: the token did not let this node in: {why}", Refusal::Pending);
    Failure::new(ErrorKind::Unavailable, "token_not_taken", text)
}

// A challenge and a nonce travel in the form of 32 bytes that there is already.
const _: () = assert!(NONCE_BYTES == 32);

/// Feeds what comes of a knock to its readers; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(frame: &Frame) -> bool {
    frame.parse::<Head>().is_ok()
        || frame.parse::<Asked>().is_ok()
        || frame.parse::<Answer>().is_ok()
        || frame.parse::<Waits>().is_ok()
        || frame.parse::<ComeIn>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_knock_has_these_fields_and_no_others() {
        let key = "ab".repeat(32);
        let right = json!({"name": "edge", "session_key": key, "addresses": [], "nonce": key});
        assert!(serde_json::from_value::<Head>(right.clone()).is_ok());
        for (field, value) in [("role", json!("owner")), ("nonce", json!("ab")), ("name", json!(1))]
        {
            let mut wrong = right.clone();
            wrong[field] = value;
            assert!(serde_json::from_value::<Head>(wrong).is_err(), "{field}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_no_frame_of_a_knock(
            kind in any::<u8>(),
            bytes in prop::collection::vec(any::<u8>(), 0..256),
        ) {
            let frame = Frame::new(kind, bytes);
            prop_assert!(frame.parse::<Head>().is_err());
            prop_assert!(frame.parse::<Asked>().is_err());
            prop_assert!(frame.parse::<Waits>().is_err());
            prop_assert!(frame.parse::<ComeIn>().is_err());
        }
    }
}
