//! What a person decides at the door.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Timestamp};
use sedge_capability::Failure;
use sedge_members::PairFor;
use sedge_trust::admission::{
    Approved, Ban, PAIR_TOKEN, PAIR_TOKEN_TTL, PairToken, PickError, Record, Refusal, TOFU,
    TrustLevel,
};
use serde_json::json;

use super::view::{AdmissionView, BannedView, PairTokenMade, PairTokenView, Settled, WaitingView};
use super::{Decision, Reception};
use crate::node::{Node, internal};

/// The longest ban that a person can give: what is to last longer is for ever, by revoking.
const LONGEST_BAN: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

fn picked(error: PickError) -> Failure {
    Failure::new(error.kind(), error.code(), error)
}

/// Returns what a person types to approve a node: the first 16 characters of its key.
pub(crate) fn approve_command(node: &NodeId) -> String {
    format!("sedge admission approve {}", &node.to_string()[..16])
}

impl Reception {
    fn needs(&self, mode: &'static str) -> Result<(), Failure> {
        if self.modes.contains(&mode) {
            return Ok(());
        }
        let (code, text) = match mode {
            TOFU => ("no_tofu", "pending requests unsupported (edge auth mode is not tofu)"),
            _ => ("mode_off", "pairing tokens are off on this node"),
        };
        Err(Failure::new(ErrorKind::Unsupported, code, text))
    }
}

impl Node {
    /// Returns who knocks, who was let in and who is kept out.
    pub async fn admission(&self) -> AdmissionView {
        let reception = &self.reception;
        let desk = reception.desk.lock().await;
        let book = desk.book();
        let waiting = book.waiting().into_iter().map(|it| WaitingView {
            node: it.node,
            trust: TrustLevel::TofuPending,
            requested_at: it.since,
            seen: it.seen,
            connected: reception.is_here(&it.node),
            approve: approve_command(&it.node),
            name: it.name,
        });
        let bans = book.bans(self.clock.now()).into_iter();
        let bans =
            bans.map(|Ban { node, at, until, reason }| BannedView { node, at, until, reason });
        let tokens = book.pair_tokens().into_iter().map(|it| PairTokenView {
            id: it.id,
            at: it.at,
            expires: it.expires,
            used_by: it.used_by,
        });
        AdmissionView {
            open: self.members.is_pairing(PairFor::Admission),
            modes: reception.modes.iter().map(|it| (*it).to_owned()).collect(),
            addresses: self.reception_addresses(),
            pending: waiting.collect(),
            approved: book.approvals(),
            sessions: book.sessions(),
            banned: bans.collect(),
            pair_tokens: tokens.collect(),
        }
    }

    /// Lets in a node that waits: named by its key, the beginning of its key (16 characters at least),
    /// or its name if nobody else claims it. Everybody else who waits under the name is refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when nobody waits under that name, [`ErrorKind::Invalid`] when several
    /// do, [`ErrorKind::Unsupported`] when no person is asked on this node.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the approval on disk, and the node to learn of it when it asks
    /// again.
    pub async fn approve(&self, who: &str) -> Result<Settled, Failure> {
        let reception = &self.reception;
        reception.needs(TOFU)?;
        let mut desk = reception.desk.lock().await;
        let Approved { approval, ousted } = desk.approve(who, self.clock.now()).map_err(picked)?;
        reception.put(&[Record::Approval(approval.clone())]).await?;
        let told = reception.is_here(&approval.node);
        reception.tell(&approval.node, Decision::Approved);
        for node in &ousted {
            let refusal = Refusal::IdInUse { name: approval.name.clone() };
            reception.tell(node, Decision::Refused(refusal));
        }
        drop(desk);
        let (node, name) = (approval.node, approval.name);
        self.audit("admission.approved", &node, json!({ "name": name, "ousted": ousted })).await;
        Ok(Settled { status: "approved".to_owned(), node, name: Some(name), told, until: None })
    }

    /// Says no to a node that waits, named as for [`Node::approve`]; it may ask again.
    ///
    /// # Errors
    ///
    /// As [`Node::approve`].
    pub async fn reject(&self, who: &str) -> Result<Settled, Failure> {
        let reception = &self.reception;
        reception.needs(TOFU)?;
        let mut desk = reception.desk.lock().await;
        let node = desk.reject(who).map_err(picked)?;
        let told = reception.is_here(&node);
        reception.tell(&node, Decision::Rejected);
        drop(desk);
        self.audit("admission.rejected", &node, json!({})).await;
        Ok(Settled { status: "rejected".to_owned(), node, name: None, told, until: None })
    }

    /// Keeps a node away for a while; a member is revoked first. A ban that holds longer stays.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when nobody of that name or key is known, [`ErrorKind::Invalid`] for
    /// the owner's own node.
    pub async fn ban(
        self: &Arc<Self>,
        who: &str,
        time: Duration,
        reason: &str,
    ) -> Result<Settled, Failure> {
        let node = self.known_at_door(who).await?;
        if node == self.id() {
            let text = "the swarm's owner cannot be banned";
            return Err(Failure::new(ErrorKind::Invalid, "is_owner", text));
        }
        let name = self.members.get(&node).map(|it| it.name().to_owned());
        if name.is_some() {
            self.revoke(&node.to_string()).await?;
        }
        let at = self.clock.now();
        let until = at.plus(time.min(LONGEST_BAN));
        let ban = Ban { node, at, until, reason: reason.chars().take(200).collect() };
        let reception = &self.reception;
        let mut desk = reception.desk.lock().await;
        let ban = desk.ban(ban);
        reception.put(&[Record::Ban(ban.clone())]).await?;
        let Ban { until, reason, .. } = ban;
        let told = reception.is_here(&node);
        let refusal = Refusal::Banned { until, reason: reason.clone() };
        reception.tell(&node, Decision::Refused(refusal));
        drop(desk);
        self.audit("admission.banned", &node, json!({ "until": until, "reason": reason })).await;
        Ok(Settled { status: "banned".to_owned(), node, name, told, until: Some(until) })
    }

    /// Lifts a ban.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when nobody of that name or key is banned.
    pub async fn unban(&self, who: &str) -> Result<Settled, Failure> {
        let node = self.known_at_door(who).await?;
        let reception = &self.reception;
        let mut desk = reception.desk.lock().await;
        let removed = reception.take_off("ban", &node).await?;
        if !(desk.unban(&node) | removed) {
            let text = format!("node {} is not banned", node.short());
            return Err(Failure::new(ErrorKind::NotFound, "not_banned", text));
        }
        drop(desk);
        self.audit("admission.unbanned", &node, json!({})).await;
        Ok(Settled { status: "unbanned".to_owned(), node, name: None, told: false, until: None })
    }

    /// Finds a node by its whole key, as a member, or as somebody who knocked.
    async fn known_at_door(&self, who: &str) -> Result<NodeId, Failure> {
        if let Ok(node) = who.parse() {
            return Ok(node);
        }
        let knocked = self.reception.desk.lock().await.book().pick(who);
        knocked.map_or_else(|| self.members.find(who), Ok)
    }

    /// Makes a token that pairs one machine, once, within `ttl` (a day at most).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when the mode is off, [`ErrorKind::Denied`] on a node that does not
    /// own the swarm.
    pub async fn make_pair_token(&self, ttl: Duration) -> Result<PairTokenMade, Failure> {
        let reception = &self.reception;
        reception.needs(PAIR_TOKEN)?;
        if !self.members.is_pairing(PairFor::Admission) {
            let text = "only the node that owns the swarm makes pairing tokens";
            return Err(Failure::new(ErrorKind::Denied, "not_owner", text));
        }
        let token = PairToken::generate().map_err(internal)?;
        let mut desk = reception.desk.lock().await;
        let issued =
            desk.issue(&token, self.clock.now(), ttl.min(PAIR_TOKEN_TTL)).map_err(picked)?;
        reception.put(&[Record::PairToken(issued.clone())]).await?;
        drop(desk);
        let addresses = self.reception_addresses();
        let at = addresses.first().map_or_else(|| "ADDRESS".to_owned(), ToString::to_string);
        let join = format!("sedge join --at {at} --pair-token {}", token.text());
        let expires: Timestamp = issued.expires;
        Ok(PairTokenMade { id: issued.id, token: token.text(), expires, addresses, join })
    }
}
