//! The door for strangers, on the node that owns the swarm: the desk, its book on disk, those who wait.
//!
//! Invariant: it is open only when the configuration names a mode and this node owns the swarm; what the
//! desk decides is on disk before anybody is told.

mod config;
mod decide;
mod view;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sedge_base::{Clock, NodeId};
use sedge_capability::Failure;
use sedge_members::PairFor;
use sedge_net::{Beacon, Protocol, Transport};
use sedge_store::{Store, StoredAdmission};
use sedge_trust::admission::{Book, DEV, Desk, Judged, Knock, MODES, Record, Refusal, Verdict};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::mesh::Open;
use crate::node::{Node, internal, unwritten};

pub(crate) use config::TokenFileError;
pub use config::{AdmissionConfig, AdmissionSection, DeviceSection};
pub(crate) use decide::approve_command;
pub use view::{
    AdmissionView, Admitted, BannedView, PairTokenMade, PairTokenView, Settled, WaitingView,
};

/// What a person said to somebody who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Yes.
    Approved,
    /// No; the modes behind may still say yes.
    Rejected,
    /// No, whatever the other modes say.
    Refused(Refusal),
}

/// A connection that waits for a person.
#[derive(Debug)]
struct Waiter {
    number: u64,
    answer: oneshot::Sender<Decision>,
}

/// A place in the list of those who wait; gives it back when it is dropped.
#[derive(Debug)]
pub(crate) struct WaitingPlace<'a> {
    reception: &'a Reception,
    node: NodeId,
    number: u64,
    pub(crate) decision: oneshot::Receiver<Decision>,
}

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        let mut waiters = self.reception.waiters();
        if waiters.get(&self.node).is_some_and(|it| it.number == self.number) {
            waiters.remove(&self.node);
        }
    }
}

/// The desk of this node, and who stands before it.
#[derive(Debug)]
pub(crate) struct Reception {
    /// Held while something is decided and put on disk, so that both have one order.
    desk: tokio::sync::Mutex<Desk>,
    modes: Vec<&'static str>,
    waiters: Mutex<HashMap<NodeId, Waiter>>,
    /// Counts those who waited, so that an old connection does not end a new one's wait.
    numbers: Mutex<u64>,
    /// Answers those who were given an address, while the door is open.
    beacon: Mutex<Option<Beacon>>,
    store: Store,
}

impl Reception {
    /// Reads the book and makes the desk of the configured modes.
    pub(crate) async fn load(
        config: &AdmissionConfig,
        store: Store,
        clock: &Clock,
    ) -> Result<Self, Failure> {
        let stored = store.admissions().list().await.map_err(internal)?;
        let records = stored.iter().map(|it| serde_json::from_str(&it.json));
        let records = records.collect::<Result<Vec<Record>, _>>().map_err(internal)?;
        let book = Book::load(records, clock.now());
        let made = config.modes.iter().filter_map(|name| {
            let (_, make) = MODES.into_iter().find(|it| it.0 == *name)?;
            Some(make(&config.settings))
        });
        Ok(Self {
            desk: tokio::sync::Mutex::new(Desk::new(made.collect(), book)),
            modes: config.modes.clone(),
            waiters: Mutex::default(),
            numbers: Mutex::default(),
            beacon: Mutex::default(),
            store,
        })
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<NodeId, Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a connection of this node waits now.
    fn is_here(&self, node: &NodeId) -> bool {
        self.waiters().contains_key(node)
    }

    /// Returns the names of the modes, in order.
    pub(crate) fn modes(&self) -> &[&'static str] {
        &self.modes
    }

    /// Judges a knock; what was decided is on disk when this returns. Whoever has to wait has a place.
    pub(crate) async fn knock(
        &self,
        knock: &Knock<'_>,
    ) -> Result<(Judged, Option<WaitingPlace<'_>>), Failure> {
        let mut desk = self.desk.lock().await;
        let judged = desk.knock(knock);
        self.put(&judged.records).await?;
        // Before the desk is free again, so that no decision comes in between.
        let place = (judged.verdict == Verdict::Waits).then(|| self.place(knock.peer()));
        Ok((judged, place))
    }

    /// Judges a knock that a person rejected by the modes behind.
    pub(crate) async fn go_on(&self, knock: &Knock<'_>) -> Result<Judged, Failure> {
        let mut desk = self.desk.lock().await;
        let judged = desk.go_on(knock);
        self.put(&judged.records).await?;
        Ok(judged)
    }

    fn place(&self, node: NodeId) -> WaitingPlace<'_> {
        let number = {
            let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            *numbers += 1;
            *numbers
        };
        let (answer, decision) = oneshot::channel();
        // An older connection of the same node finds its channel closed.
        self.waiters().insert(node, Waiter { number, answer });
        WaitingPlace { reception: self, node, number, decision }
    }

    /// Tells somebody who waits, if they do.
    fn tell(&self, node: &NodeId, decision: Decision) {
        let waiter = self.waiters().remove(node);
        if let Some(waiter) = waiter {
            // Whoever left meanwhile finds the decision when they come again.
            drop(waiter.answer.send(decision));
        }
    }

    async fn put(&self, records: &[Record]) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let stored = records.iter().map(|it| {
            Ok(StoredAdmission {
                kind: it.kind().to_owned(),
                subject: it.subject(),
                at: it.at(),
                ends: it.ends(),
                json: serde_json::to_string(it).map_err(internal)?,
            })
        });
        let stored = stored.collect::<Result<Vec<_>, Failure>>()?;
        self.store.admissions().put(stored).await.map_err(|it| unwritten(it.kind(), it))
    }

    async fn take_off(&self, kind: &str, node: &NodeId) -> Result<bool, Failure> {
        let removed = self.store.admissions().remove(kind, &node.to_string()).await;
        removed.map_err(|it| unwritten(it.kind(), it))
    }

    /// Forgets that a node was let in; off the disk first.
    pub(crate) async fn forget(&self, node: &NodeId) -> Result<(), Failure> {
        let mut desk = self.desk.lock().await;
        for kind in ["approval", "session"] {
            self.take_off(kind, node).await?;
        }
        desk.forget(node);
        Ok(())
    }

    fn beacon(&self) -> MutexGuard<'_, Option<Beacon>> {
        self.beacon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Opens the door for strangers, if the configuration names a mode.
    ///
    /// # Errors
    ///
    /// What opening the mesh may fail with.
    pub(crate) async fn receive(self: &Arc<Self>) -> Result<(), Failure> {
        let modes = self.reception.modes().join(", ");
        if modes.is_empty() {
            return Ok(());
        }
        if !self.is_owner() {
            warn!(
                target: "sedge::events::admission_idle", modes,
                "`[admission]` is for the node that owns the swarm; this one does not"
            );
            return Ok(());
        }
        let open = self.mesh.open(self).await?;
        self.members.set_pairing(PairFor::Admission, true);
        self.speak(&open);
        // A simulation has no addresses that somebody could type.
        if let Some(quic) = open.quic()
            && let Some(addr) = quic.listening().first()
        {
            match Beacon::open(*addr, &quic.place().peer_addr(), None).await {
                Ok(beacon) => *self.reception.beacon() = Some(beacon),
                Err(error) => warn!(target: "sedge::events::beacon_closed", %error),
            }
        }
        info!(target: "sedge::events::admission_open", modes);
        if self.reception.modes().contains(&DEV) {
            warn!(
                target: "sedge::events::admission_dev",
                "EVERY program of this machine is admitted: `dev` is in `[admission]`; never on a \
                 machine that others use"
            );
        }
        Ok(())
    }

    /// Closes the door, when this node goes over to somebody else's swarm.
    pub(crate) fn stop_receiving(&self) {
        self.members.set_pairing(PairFor::Admission, false);
        *self.reception.beacon() = None;
    }

    /// Speaks with strangers exactly as long as there is a reason to.
    pub(crate) fn speak(&self, open: &Open) {
        let Some(quic) = open.quic() else { return };
        if self.members.is_inviting() {
            quic.set_protocols(&[Protocol::Mesh, Protocol::Pair]);
        } else {
            quic.set_protocols(&[Protocol::Mesh]);
        }
    }

    /// Returns where `sedge join --at` finds this node.
    pub(crate) fn reception_addresses(&self) -> Vec<SocketAddr> {
        let direct = self.mesh.addresses();
        let beacon = self.reception.beacon();
        beacon.as_ref().map_or_else(Vec::new, |it| crate::pair::reachable(it, &direct))
    }
}
