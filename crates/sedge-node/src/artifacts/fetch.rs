//! Fetching an artifact from the members that have it, one after the other until all of it is here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sedge_base::{ArtifactId, ByteSize, ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_net::artifact::{
    Drawn, Fetch, Holder, HolderError, Probed, Progress, PullError, Remote, probe,
};
use sedge_store::{Artifact, AuditEntry, Keep};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{info, warn};

use super::put::disk;
use super::{ArtifactView, failed, travelling, view};
use crate::bulk::{BULK_OVER_RELAY, Direct};
use crate::node::{Node, internal, with_source};

/// How often the members are asked again after all of them broke off and some gave something.
const ROUNDS: usize = 8;

/// A fetched artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fetched {
    /// The artifact, whole.
    #[serde(flatten)]
    pub artifact: ArtifactView,
    /// How many of its bytes were here before.
    pub resumed: u64,
    /// How many came now.
    pub received: u64,
    /// Who gave them, in the order in which they were asked.
    pub from: Vec<DrawnFrom>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What one member gave of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnFrom {
    /// Who.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// How many bytes of the artifact it gave that were right.
    pub bytes: u64,
    /// Why it gave no more, unless it gave all.
    pub fault: Option<String>,
}

/// A member that says it has the artifact, and of which size.
type Offer = (Arc<dyn Holder>, u64);

/// What is to be brought here.
struct Wanted {
    id: ArtifactId,
    keep: Keep,
    /// Told how far it is.
    progress: watch::Sender<Progress>,
}

/// What is noted while an artifact arrives.
#[derive(Default)]
struct Log {
    from: Vec<DrawnFrom>,
    /// Who sent wrong data: not asked again.
    liars: BTreeSet<NodeId>,
    /// Whether somebody has it and is reached through a relay only.
    relayed: bool,
}

impl Node {
    /// Brings an artifact here from any member that has it. What is here already stays; what is
    /// missing is asked for once. When it is here, nobody is asked.
    ///
    /// `progress` is told how far it is.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: `NotFound` when no member has it, `Unavailable` when those that had it broke
    /// off; what came until then stays and is gone on with by the next call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the transfer; what came until then stays.
    pub async fn fetch_artifact(
        self: &Arc<Self>,
        id: ArtifactId,
        keep: Keep,
        progress: &watch::Sender<Progress>,
    ) -> Result<Fetched, Failure> {
        let began = Instant::now();
        let ticket = self.depot.ticket(id);
        // Who comes second waits, and then finds it here.
        let _gate = ticket.arriving.gate.lock().await;
        let known = self.store.artifacts().get(id).await.map_err(internal)?;
        let mut log = Log::default();
        let (artifact, resumed) = match known.filter(|it| it.whole) {
            Some(artifact) => {
                let size = artifact.size;
                (self.pin(artifact, keep).await?, size)
            }
            None => {
                let wanted = Wanted { id, keep, progress: ticket.arriving.progress.clone() };
                let mut told = wanted.progress.subscribe();
                let work = self.bring(wanted, &mut log);
                let telling = async {
                    while told.changed().await.is_ok() {
                        progress.send_replace(*told.borrow_and_update());
                    }
                };
                tokio::select! {
                    biased;
                    done = work => done?,
                    () = telling => return Err(internal("the transfer was lost")),
                }
            }
        };
        let received = artifact.size - resumed;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(target: "sedge::events::artifact_here", %id, size = artifact.size, received, took_ms);
        Ok(Fetched { artifact: view(artifact, None), resumed, received, from: log.from, took_ms })
    }

    /// Draws what is missing; returns the whole artifact and how much of it was here before.
    async fn bring(
        self: &Arc<Self>,
        wanted: Wanted,
        log: &mut Log,
    ) -> Result<(Artifact, u64), Failure> {
        let id = wanted.id;
        let mut offers = self.offers_of(id, log).await?;
        let (mut fetch, resumed) = self.open_fetch(wanted, &offers, log).await?;
        for _ in 0..ROUNDS {
            let before = fetch.here();
            let holders: Vec<_> = offers
                .iter()
                .map(|(holder, _)| Arc::clone(holder))
                .filter(|it| !log.liars.contains(&it.node()))
                .collect();
            let drawn = fetch.draw(&holders).await;
            let full = drawn.iter().any(|it| matches!(it.fault, Some(PullError::Disk(_))));
            for it in drawn {
                self.note(id, it, log).await;
            }
            if fetch.is_whole() || full || fetch.here() == before {
                break;
            }
            // They gave something and broke off: who is still there goes on.
            match self.offers_of(id, log).await {
                Ok(again) => offers = again,
                Err(_) => break,
            }
        }
        if !fetch.is_whole() {
            return Err(incomplete(&fetch, log));
        }
        self.store.artifacts().finish(id).await.map_err(|it| failed(&it))?;
        let stored = self.store.artifacts().get(id).await.map_err(internal)?;
        Ok((stored.ok_or_else(|| internal("the artifact was removed meanwhile"))?, resumed))
    }

    /// Opens what is here of an artifact; if nothing is, lets a member prove its size first.
    async fn open_fetch(
        &self,
        wanted: Wanted,
        offers: &[Offer],
        log: &mut Log,
    ) -> Result<(Fetch, u64), Failure> {
        let Wanted { id, keep, progress } = wanted;
        let known = self.store.artifacts().get(id).await.map_err(internal)?;
        let probed = match &known {
            Some(_) => None,
            None => Some(self.prove(id, offers, log).await?),
        };
        let size = match (&known, &probed) {
            (Some(artifact), _) => artifact.size,
            (None, Some((probed, _))) => probed.size(),
            (None, None) => 0,
        };
        let (whole, stored_at) = (false, self.clock.now());
        let artifact = Artifact { id, content: None, size, whole, keep, stored_at };
        let (limits, busy) = (self.config.artifacts.limits, self.depot.busy());
        let begun = self.store.artifacts().begin(artifact, limits, busy).await;
        let (files, evicted) = begun.map_err(|it| failed(&it))?;
        tell_evicted(&evicted);
        let files = travelling(files);
        let (files, ending) = match probed {
            None => (files, None),
            Some((probed, node)) => {
                let stored = spawn_blocking(move || probed.store(&files).map(|()| files));
                (stored.await.map_err(internal)?.map_err(disk)?, Some(node))
            }
        };
        let fetch = Fetch::open(id, size, files, progress).await.map_err(disk)?;
        let Some(node) = ending else {
            let resumed = fetch.here();
            return Ok((fetch, resumed));
        };
        // The last group came with the proof of the size.
        self.note(id, Drawn { node, bytes: fetch.here(), fault: None }, log).await;
        Ok((fetch, 0))
    }

    /// Lets one of those who offer an artifact prove its size.
    async fn prove(
        &self,
        id: ArtifactId,
        offers: &[Offer],
        log: &mut Log,
    ) -> Result<(Probed, NodeId), Failure> {
        let largest = self.config.artifacts.limits.largest;
        let mut why = None;
        for (holder, size) in offers {
            let (got, most, node) = (ByteSize::from_bytes(*size), largest, holder.node());
            if got > most {
                // Nobody proved that; a smaller claim of another member may be the true one.
                why = Some(failed(&sedge_store::ArtifactError::TooLarge { got, most }));
                continue;
            }
            match probe(holder.as_ref(), id, *size).await {
                Ok(probed) => return Ok((probed, node)),
                Err(fault) => {
                    let fault = Some(fault);
                    self.note(id, Drawn { node, bytes: 0, fault }, log).await;
                }
            }
        }
        Err(why.unwrap_or_else(|| broken_off("nothing of it is here yet".to_owned(), log)))
    }

    /// Asks every member, all at once, whether it has an artifact; the nearest comes first.
    async fn offers_of(self: &Arc<Self>, id: ArtifactId, log: &Log) -> Result<Vec<Offer>, Failure> {
        let others = self.members.others();
        let asked =
            others.into_iter().filter(|it| !log.liars.contains(it)).map(|peer| async move {
                let conn = self.mesh.conn(self, peer).await.map_err(|it| it.to_string())?;
                let rtt = conn.rtt();
                let holder: Arc<dyn Holder> = match self.relay_limit() {
                    Some(_) => Arc::new(Direct::new(conn)),
                    None => Arc::new(Remote::new(conn)),
                };
                let size = holder.size(id).await.map_err(|it| with_source(&it))?;
                Ok::<_, String>(size.map(|it| (rtt, (holder, it))))
            });
        let answers = join_all(asked).await;
        let silent = answers.iter().filter(|it| it.is_err()).count();
        let mut offers: Vec<_> = answers.into_iter().filter_map(Result::ok).flatten().collect();
        offers.sort_by_key(|(rtt, _)| rtt.unwrap_or(Duration::MAX));
        if !offers.is_empty() {
            return Ok(offers.into_iter().map(|(_, offer)| offer).collect());
        }
        Err(match silent {
            0 => {
                let text = format!("no node of this swarm has artifact {id}");
                Failure::new(ErrorKind::NotFound, "unknown_artifact", text)
            }
            silent => {
                let text =
                    format!("no node that answers has artifact {id}; {silent} do not answer");
                Failure::new(ErrorKind::Unavailable, "artifact_unreachable", text)
            }
        })
    }

    /// Writes down what a member gave, and who lied.
    async fn note(&self, id: ArtifactId, drawn: Drawn, log: &mut Log) {
        let Drawn { node, bytes, fault } = drawn;
        let node_name = self.members.name_of(&node);
        log.relayed |= matches!(fault, Some(PullError::Holder(HolderError::Relayed { .. })));
        let lied = matches!(fault, Some(PullError::Wrong { .. }));
        let fault = fault.map(|it| with_source(&it));
        if lied && log.liars.insert(node) {
            warn!(target: "sedge::events::artifact_wrong_data", %id, %node, node_name, fault);
            let entry = AuditEntry {
                at: self.clock.now(),
                kind: "artifact.wrong_data".to_owned(),
                subject: node.to_string(),
                detail: json!({ "artifact": id, "fault": fault }).to_string(),
            };
            if let Err(error) = self.store.audit().append(entry).await {
                warn!(target: "sedge::events::audit_failed", %error);
            }
        }
        match log.from.iter_mut().find(|it| it.node == node) {
            Some(known) => {
                known.bytes += bytes;
                known.fault = fault;
            }
            None => log.from.push(DrawnFrom { node, node_name, bytes, fault }),
        }
    }

    /// Pins an artifact that is here, if it is to be.
    async fn pin(&self, artifact: Artifact, keep: Keep) -> Result<Artifact, Failure> {
        if keep == Keep::WhileThereIsRoom || artifact.keep == Keep::Pinned {
            return Ok(artifact);
        }
        let pinned = Artifact { keep, ..artifact };
        self.store.artifacts().pin(pinned.id).await.map_err(internal)?;
        Ok(pinned)
    }
}

/// Says what was evicted.
pub(super) fn tell_evicted(ids: &[ArtifactId]) {
    for id in ids {
        info!(target: "sedge::events::artifact_evicted", %id);
    }
}

fn incomplete(fetch: &Fetch, log: &Log) -> Failure {
    let (here, size) = (fetch.here(), fetch.size());
    let [here, size] = [here, size].map(ByteSize::from_bytes);
    broken_off(format!("{here} of {size} are here and stay"), log)
}

fn broken_off(state: String, log: &Log) -> Failure {
    let mut text = state;
    for DrawnFrom { node_name, fault, .. } in &log.from {
        if let Some(fault) = fault {
            text.push_str(&format!("; {node_name}: {fault}"));
        }
    }
    let code = if log.relayed { BULK_OVER_RELAY } else { "artifact_incomplete" };
    Failure::new(ErrorKind::Unavailable, code, text)
}
