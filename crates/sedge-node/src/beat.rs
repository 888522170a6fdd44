//! The heartbeat: members tell each other what they offer and have left, and repair their rosters.
//!
//! Whom a node beats with is said by [`Node::partners`]: everybody in a small swarm, few in a large one.

use std::sync::Arc;

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_members::{Advert, Roster};
use sedge_net::{FrameReader, FrameWriter};
use tracing::{debug, warn};

use crate::mesh::NODE_FULL;
use crate::node::{Node, with_source};
use crate::remote::OPEN_WITHIN;
use crate::wire::{self, Request, WireError};

/// Beats until the node stops.
pub(crate) async fn beat_all(node: Arc<Node>) {
    let mut every = tokio::time::interval(node.config.node.advert_period);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = every.tick() => {}
            // Others shall not wait for the next beat to learn of a deployment.
            () = node.changed.notified() => {}
        }
        node.measure();
        if let Err(error) = node.ledger.checkpoint_if_due().await {
            warn!(target: "sedge::events::checkpoint_failed", error = with_source(&error));
        }
        node.tend_swarm();
        node.tell_others().await;
        node.look_around();
        let looking = Arc::clone(&node);
        node.scope.spawn("look for missing", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = looking.look_for_missing() => {}
            }
        });
    }
}

impl Node {
    /// Exchanges adverts with one member, and rosters if they differ. Returns whether it answered.
    pub async fn beat(self: &Arc<Self>, peer: NodeId) -> bool {
        let exchanged = self.exchange(peer).await;
        let answered = exchanged.is_ok();
        let full = matches!(&exchanged, Err(it) if it.code == NODE_FULL);
        if !self.members.are_many() {
            self.members.checked(&peer, answered || full);
        }
        match exchanged {
            Ok(()) => {
                self.met(peer);
                self.pull_graph(peer);
            }
            // It is there, and said so.
            Err(_) if full => {}
            Err(failure) => self.lost(peer, failure.message),
        }
        answered
    }

    async fn exchange(self: &Arc<Self>, peer: NodeId) -> Result<(), Failure> {
        let conn = self.mesh.conn(self, peer).await?;
        let work = async {
            let mine = self.whole_advert();
            let theirs: Advert = ask(&conn, &Request::Advert(Box::new(mine.clone()))).await?;
            let differ = theirs.roster != mine.roster;
            let checkpoint = theirs.checkpoint;
            let notices = theirs.notices.is_some_and(|it| mine.notices.is_some_and(|my| it != my));
            self.hear(peer, theirs).await;
            if differ {
                debug!(target: "sedge::events::rosters_differ", %peer);
                let roster: Roster = ask(&conn, &Request::Roster(self.members.roster())).await?;
                // A roster that does not hold changes nothing; the advert still counts.
                if let Err(failure) = self.take_roster(roster).await {
                    debug!(target: "sedge::events::roster_refused", %peer, %failure);
                }
            }
            if notices {
                self.pull_notices(peer);
            }
            if checkpoint.is_some_and(|it| self.ledger.is_news(&peer, &it)) {
                self.look_at_chain(&conn, peer).await?;
            }
            Ok::<_, WireError>(())
        };
        match tokio::time::timeout(OPEN_WITHIN, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(silent(error)),
            Err(_) => Err(silent(format!("no answer within {OPEN_WITHIN:?}"))),
        }
    }
}

fn silent(why: impl ToString) -> Failure {
    Failure::new(ErrorKind::Unavailable, "member_silent", why)
}

/// Sends a request without a body and reads the reply.
pub(crate) async fn ask<T: serde::de::DeserializeOwned>(
    conn: &sedge_net::Conn,
    request: &Request,
) -> Result<T, WireError> {
    let stream = conn.open(OPEN_WITHIN).await.map_err(WireError::Conn)?;
    let mut writer = FrameWriter::new(stream.send);
    let mut reader = FrameReader::new(stream.recv);
    wire::send_request(&mut writer, request).await?;
    let reply = wire::read_reply(&mut reader).await?;
    drop(writer.into_inner().finish().await);
    Ok(reply)
}
