//! Taking back a membership or a token: signed by the owner, kept on disk, told to every member.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::{FutureExt, StreamExt, stream};
use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_members::{Listed, Roster};
use sedge_store::{StoredRevocation, Subject};
use sedge_trust::swarm::Role;
use sedge_trust::{Revocation, Revoked, TokenId};
use tracing::{debug, info};

use crate::beat;
use crate::node::{Node, internal, unwritten};
use crate::plugins::about;
use crate::view::RevokedView;
use crate::wire::Request;

/// How long the one that is revoked may take to hear it; it is cut off all the same.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// How many members are told at one time.
const TOLD_AT_ONCE: usize = 16;

impl Node {
    /// Takes back a node's membership: every member that can be reached knows it when this returns,
    /// has closed its connections with the node, and refuses it; the others learn it from any member
    /// that they connect to. Its tokens stay as they are: see [`Node::revoke_token`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] on a node that does not own the swarm, [`ErrorKind::Invalid`] for the
    /// owner's own node, [`ErrorKind::NotFound`] when nobody fits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave some members to learn it with their next heartbeat.
    pub async fn revoke(self: &Arc<Self>, node: &str) -> Result<RevokedView, Failure> {
        let node_id = self.members.find(node)?;
        let known = self.members.get(&node_id).ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, "unknown_node", "this node is no member any more")
        })?;
        let member = &known.membership.member;
        if node_id == self.id() || member.roles.contains(&Role::Owner) {
            let text = "the swarm's owner cannot be revoked";
            return Err(Failure::new(ErrorKind::Invalid, "is_owner", text));
        }
        let revocation = self.sign(Revoked::Node { node_id, epoch: member.epoch })?;
        // First, so that an approval never outlives the membership.
        self.reception.forget(&node_id).await?;
        let roster = Roster { revocations: vec![revocation], ..Roster::default() };
        let new = self.take_in(roster.clone(), Some(&roster)).await?;
        self.publish_revocations(&new);
        info!(target: "sedge::events::member_revoked", node = %node_id, name = member.name);
        self.audit("member.revoked", &node_id, serde_json::json!({ "name": member.name })).await;
        Ok(self.tell(node_id.to_string(), Some(member.name.clone())).await)
    }

    /// Takes back a block of a token, and by that every token that was narrowed from it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] on a node that does not own the swarm.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave some members to learn it with their next heartbeat.
    pub async fn revoke_token(self: &Arc<Self>, token_id: TokenId) -> Result<RevokedView, Failure> {
        let revocation = self.sign(Revoked::Token { token_id })?;
        let roster = Roster { revocations: vec![revocation], ..Roster::default() };
        let new = self.take_in(roster, None).await?;
        self.publish_revocations(&new);
        info!(target: "sedge::events::token_revoked", token = %token_id);
        Ok(self.tell(token_id.to_string(), None).await)
    }

    fn sign(&self, revoked: Revoked) -> Result<Revocation, Failure> {
        if !self.members.can_revoke() {
            let text = "the swarm keeps as many revocations as it can; found a new one";
            return Err(Failure::new(ErrorKind::Exhausted, "too_many_revocations", text));
        }
        let owner = self.owner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let owner = owner.as_ref().ok_or_else(|| {
            let text = "only the node that owns the swarm can revoke";
            Failure::new(ErrorKind::Denied, "not_owner", text)
        })?;
        owner.revoke(revoked, self.clock.now()).map_err(internal)
    }

    /// Takes in what another member, or this one, says of the swarm; puts on disk what was new, and
    /// cuts off who was revoked. Returns the revocations that were new.
    ///
    /// `goodbye` is told to those that are cut off, over the connection that they have.
    async fn take_in(
        self: &Arc<Self>,
        roster: Roster,
        goodbye: Option<&Roster>,
    ) -> Result<Vec<Revocation>, Failure> {
        let new = |it: &&Listed| self.members.get(&it.membership.member.node_id).is_none();
        let joined: Vec<_> = roster.members.iter().filter(new).map(about).collect();
        let news = self.members.merge(roster)?;
        for revocation in &news.revocations {
            self.store_revocation(revocation).await?;
        }
        for listed in &news.members {
            self.store_member(listed).await?;
        }
        for (id, data) in joined {
            // Not every record holds.
            if self.members.get(&id).is_some() {
                self.hooks().tell("member.joined", || data);
            }
        }
        for node in news.revocations.iter().filter_map(node_of) {
            if let Some(goodbye) = goodbye {
                self.say_goodbye(node, goodbye.clone()).await;
            }
            self.mesh.forget(&node);
            self.turns.forget(&node);
        }
        Ok(news.revocations)
    }

    /// Takes in what another member knows of the swarm; what it knows of revocations goes on to the
    /// others at once.
    pub(crate) async fn take_roster(self: &Arc<Self>, theirs: Roster) -> Result<(), Failure> {
        let revocations = self.take_in(theirs, None).await?;
        if !revocations.is_empty() {
            self.publish_revocations(&revocations);
            let node = Arc::clone(self);
            self.scope.spawn("spread revocations", async move |cancel| {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = node.spread() => {}
                }
            });
        }
        Ok(())
    }

    /// Takes in what a member posted to everybody: the others have the post, too.
    pub(crate) async fn take_post(self: &Arc<Self>, roster: Roster) -> Result<(), Failure> {
        self.take_in(roster, None).await.map(drop)
    }

    /// Exchanges adverts, and with them rosters, with every member that this node talks to. Boxed
    /// because it leads to itself: what it hears may be news to spread.
    pub(crate) fn spread<'a>(self: &'a Arc<Self>) -> BoxFuture<'a, ()> {
        let beats = self.partners().into_iter().map(|it| self.beat(it));
        join_all(beats).map(drop).boxed()
    }

    /// Tells every other member, a few at a time, and returns who knows it now.
    async fn tell(self: &Arc<Self>, subject: String, name: Option<String>) -> RevokedView {
        let others = stream::iter(self.members.others());
        let beats = others.map(async |id| (id, self.beat(id).await)).buffered(TOLD_AT_ONCE);
        let answered: Vec<(NodeId, bool)> = beats.collect().await;
        let mut view = RevokedView { subject, name, told: Vec::new(), not_yet: Vec::new() };
        for (id, told) in answered {
            let Some(known) = self.members.get(&id) else { continue };
            let list = if told { &mut view.told } else { &mut view.not_yet };
            list.push(known.name().to_owned());
        }
        view
    }

    /// Tells a revoked node that it is, so that its person can be told; it need not listen.
    async fn say_goodbye(&self, node: NodeId, goodbye: Roster) {
        let Some(conn) = self.mesh.live(&node) else { return };
        let request = Request::Roster(goodbye);
        let said = beat::ask::<Roster>(&conn, &request);
        if !matches!(tokio::time::timeout(TELL_WITHIN, said).await, Ok(Ok(_))) {
            debug!(target: "sedge::events::goodbye_unheard", %node);
        }
    }

    async fn store_revocation(&self, revocation: &Revocation) -> Result<(), Failure> {
        let facts = &revocation.facts;
        let subject = match facts.revoked {
            Revoked::Node { node_id, epoch } => Subject::Node { node: node_id, epoch },
            Revoked::Token { token_id } => Subject::Token(token_id.to_string()),
        };
        let json = serde_json::to_string(revocation).map_err(internal)?;
        let stored = StoredRevocation { subject, at: facts.at, json };
        self.store.revocations().put(stored).await.map_err(|it| unwritten(it.kind(), it))
    }

    /// Puts on disk what the owner took back before this node came in.
    pub(crate) async fn store_revocations(&self, all: &[Revocation]) -> Result<(), Failure> {
        for revocation in all {
            self.store_revocation(revocation).await?;
        }
        Ok(())
    }
}

fn node_of(revocation: &Revocation) -> Option<NodeId> {
    match revocation.facts.revoked {
        Revoked::Node { node_id, .. } => Some(node_id),
        Revoked::Token { .. } => None,
    }
}
