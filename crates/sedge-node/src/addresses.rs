//! The book of addresses on disk, and asking around for members that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use sedge_base::NodeId;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::beat::ask;
use crate::node::Node;
use crate::remote::OPEN_WITHIN;
use crate::wire::Request;

/// Where the setting lies that keeps the book.
const SETTING: &str = "mesh.addresses";
/// So many members are asked at once where the missing ones are.
const ASKED: usize = 3;
/// The most members that one question is about.
pub(crate) const MISSING: usize = 32;

impl Node {
    /// Takes up the addresses that were written down before the last stop.
    pub(crate) async fn remember_addresses(&self) {
        let text = match self.store.settings().get(SETTING).await {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(fault) => return warn!(target: "sedge::events::addresses_unread", %fault),
        };
        // They are hints: without them the node asks around.
        let (now, known) = (self.clock.now(), self.members.others());
        let is_known = |it: &NodeId| known.binary_search(it).is_ok();
        if let Err(error) = self.members.with_book(|book| book.take_in(&text, is_known, now)) {
            warn!(target: "sedge::events::addresses_unread", %error);
        }
    }

    /// Writes the book down.
    pub(crate) async fn keep_addresses(&self) {
        let text = self.members.with_book(|book| book.written());
        let Ok(text) = text else { return };
        if let Err(fault) = self.store.settings().set(SETTING, &text).await {
            warn!(target: "sedge::events::addresses_not_stored", %fault);
        }
    }

    /// Returns where members were, as far as this node knows.
    pub(crate) fn whereabouts(&self, of: &[NodeId]) -> BTreeMap<NodeId, Vec<SocketAddr>> {
        let places = of.iter().take(MISSING).map(|it| (*it, self.members.addresses(it)));
        places.filter(|(_, addrs)| !addrs.is_empty()).collect()
    }

    /// Asks a few members that are there where those are that are not: two nodes that both came up
    /// at a new place find each other through any third one.
    pub(crate) async fn look_for_missing(self: &Arc<Self>) {
        let missing = self.members.missing(MISSING);
        if missing.is_empty() {
            return;
        }
        let mut there = self.members.others();
        there.retain(|it| !missing.contains(it) && self.mesh.live(it).is_some());
        if there.is_empty() {
            return;
        }
        // Not always the same ones: one that lies or knows nothing shall not stand in the way.
        let turn =
            u128::from(self.clock.now().as_millis()) / self.config.node.advert_period.as_millis();
        let first = usize::try_from(turn).unwrap_or(0) % there.len();
        there.rotate_left(first);
        let asked = there.into_iter().take(ASKED).map(|it| self.ask_where(it, &missing));
        let moved: BTreeSet<_> = join_all(asked).await.into_iter().flatten().collect();
        if moved.is_empty() {
            return;
        }
        self.keep_addresses().await;
        for member in moved {
            debug!(target: "sedge::events::member_moved", peer = %member);
            self.mesh.retry_now(member);
        }
    }

    /// Asks one member where others are; returns those of whom it said something new.
    async fn ask_where(&self, whom: NodeId, missing: &[NodeId]) -> Vec<NodeId> {
        let Some(conn) = self.mesh.live(&whom) else { return Vec::new() };
        let request = Request::Where { of: missing.to_vec() };
        let told = ask::<BTreeMap<NodeId, Vec<SocketAddr>>>(&conn, &request);
        let Ok(Ok(told)) = timeout(OPEN_WITHIN, told).await else { return Vec::new() };
        let wanted = told.into_iter().filter(|(id, _)| missing.contains(id));
        let new = wanted.filter(|(id, addrs)| self.members.heard_of(*id, addrs));
        new.map(|(id, _)| id).collect()
    }
}
