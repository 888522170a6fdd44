//! What two replicas do when they meet: find the buckets that differ, bring what is missing.
//!
//! Anti-entropy is by pulling alone, so that each side checks what it takes and measures the link
//! that it takes it over. What is new is pushed besides, so that nobody waits for the next pull.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ContentId, NodeId};
use sedge_net::{Conn, FrameReader, FrameWriter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::entry::Entry;
use crate::events;
use crate::graph::{BUCKETS, Listed, root_of};
use crate::link::{Level, LinkView};
use crate::replica::{Replica, Taken};
use crate::tensor::{Form, Tensor, TensorRef};
use crate::wire::{self, Ask, Head, MAX_BODY, Reader, Refusal, SyncError, Writer};

/// How long a stream may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// The most buckets that are listed in one answer.
const MOST_BUCKETS: usize = 64;

/// The most entries that are asked for, given or pushed at once.
pub const MOST_ENTRIES: usize = 512;

/// The most tensors that one pull brings.
const MOST_TENSORS: usize = 64;

/// How many bytes of entries are given at once: what is left over is asked for again.
const MOST_GIVEN: usize = 4 << 20;

/// What a probe answers, in bytes.
const PROBE: usize = 8 << 10;

/// After how many answers without a measured bandwidth a link is probed, while something coarse is
/// to be replaced.
const PROBE_AFTER: u32 = 5;

/// What one pull brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The entries.
    pub entries: Taken,
    /// How many tensors came, or came more exactly than they were here.
    pub tensors: usize,
    /// Whether the two graphs were equal from the start.
    pub equal: bool,
}

impl Replica {
    /// Returns what is known of the link to a node.
    pub fn link(&self, peer: &NodeId) -> LinkView {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(peer).cloned().unwrap_or_default().view()
    }

    /// Returns every link that was measured.
    pub fn links(&self) -> Vec<(NodeId, LinkView)> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().map(|(peer, meter)| (*peer, meter.view())).collect()
    }

    /// Brings here what a node has and this one has not: entries, then tensors.
    ///
    /// # Errors
    ///
    /// [`SyncError`]; what came before stays.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the pull; what came stays.
    pub async fn pull(&self, conn: &Conn) -> Result<Pulled, SyncError> {
        self.release().await?;
        let mut pulled = Pulled::default();
        let mine = self.write().digests();
        pulled.equal = self.ask(conn, &Ask::Root { root: root_of(&mine) }).await?;
        let mut buckets = Vec::new();
        if !pulled.equal {
            let level = self.link(&conn.peer()).level.lossless();
            let theirs: Vec<ContentId> = self.ask(conn, &Ask::Digests { level }).await?;
            let both = (0..=u8::MAX).zip(theirs.iter().zip(&mine));
            buckets.extend(both.filter(|(_, (theirs, mine))| theirs != mine).map(|it| it.0));
        }
        for some in buckets.chunks(MOST_BUCKETS) {
            self.pull_buckets(conn, some, &mut pulled.entries).await?;
        }
        pulled.tensors = self.pull_tensors(conn).await?;
        Ok(pulled)
    }

    async fn pull_buckets(
        &self,
        conn: &Conn,
        buckets: &[u8],
        sum: &mut Taken,
    ) -> Result<(), SyncError> {
        let level = self.link(&conn.peer()).level.lossless();
        let listed: Vec<Listed> =
            self.ask(conn, &Ask::List { buckets: buckets.to_vec(), level }).await?;
        let mut wanted: Vec<_> = {
            let graph = self.read();
            listed.iter().filter(|it| graph.wants(it)).map(|it| it.id).collect()
        };
        while !wanted.is_empty() {
            let ids: Vec<_> = wanted.iter().copied().take(MOST_ENTRIES).collect();
            let level = self.link(&conn.peer()).level.lossless();
            let given: Vec<Entry> = self.ask(conn, &Ask::Give { ids: ids.clone(), level }).await?;
            // What does not come now has been replaced there: the next pull lists what by. The
            // answer is in the order of the question, and may stop early when it is long.
            let came = given.len().clamp(1, ids.len());
            wanted.drain(..came);
            let Taken { taken, deferred, refused } = self.take_in(given, conn.peer()).await?;
            sum.taken += taken;
            sum.deferred += deferred;
            sum.refused += refused;
        }
        Ok(())
    }

    /// Brings tensors that are not here, or only coarsely, as exactly as the link bears.
    async fn pull_tensors(&self, conn: &Conn) -> Result<usize, SyncError> {
        let due: Vec<TensorRef> = {
            let graph = self.read();
            let coarse = |it: &&TensorRef| self.tensor_form(&it.id()) < Some(Form::Exact);
            graph.tensors().filter(coarse).copied().collect()
        };
        let (mut came, mut tried) = (0, 0);
        for named in &due {
            let level = self.link(&conn.peer()).level;
            if tried == MOST_TENSORS || self.tensor_form(&named.id()) >= Some(level.form()) {
                continue;
            }
            tried += 1;
            came += usize::from(self.pull_tensor(conn, named, level).await?);
        }
        let unmeasured = {
            let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.get(&conn.peer()).map_or(0, crate::link::LinkMeter::unmeasured)
        };
        if came == 0 && !due.is_empty() && unmeasured >= PROBE_AFTER {
            drop(self.question(conn, &Ask::Probe).await?);
        }
        Ok(came)
    }

    async fn pull_tensor(
        &self,
        conn: &Conn,
        named: &TensorRef,
        level: Level,
    ) -> Result<bool, SyncError> {
        let held = self.tensor_form(&named.id());
        let ask = Ask::Tensor { id: named.id(), level, held };
        let Some((head, bytes)) = self.question(conn, &ask).await? else { return Ok(false) };
        let Some(form) = head.form.filter(|it| named.fits(*it, &bytes)) else {
            // Not what the author signed.
            events::Refused { from: conn.peer(), count: 1 }.emit();
            return Ok(false);
        };
        if Some(form) <= held {
            return Ok(false);
        }
        Ok(self.keep_tensor(named.id(), form, bytes).await?)
    }

    /// Gives new entries to a node at once; up to [`MOST_ENTRIES`], the rest is left to its next pull.
    ///
    /// # Errors
    ///
    /// [`SyncError`]; the node's next pull repairs it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the entries given.
    pub async fn push(&self, conn: &Conn, entries: &[&Entry]) -> Result<Taken, SyncError> {
        let level = self.link(&conn.peer()).level.lossless();
        let entries = &entries[..entries.len().min(MOST_ENTRIES)];
        let (body, bytes) = wire::packed(json(&entries)?, level);
        let stream = conn.open(OPEN_WITHIN).await.map_err(SyncError::Conn)?;
        let (mut writer, mut reader) =
            (FrameWriter::new(stream.send), FrameReader::new(stream.recv));
        wire::send_ask(&mut writer, &Ask::Take { body }).await?;
        wire::send_body(&mut writer, bytes).await?;
        let head = wire::read_head(&mut reader).await?.ok_or(SyncError::Refused)?;
        let taken = wire::read_body(&mut reader, head).await?;
        drop(writer.into_inner().finish().await);
        parse(&taken)
    }

    async fn ask<T: DeserializeOwned>(&self, conn: &Conn, ask: &Ask) -> Result<T, SyncError> {
        let (_, body) = self.question(conn, ask).await?.ok_or(SyncError::Refused)?;
        parse(&body)
    }

    /// Asks a question and measures the link by the answer.
    async fn question(&self, conn: &Conn, ask: &Ask) -> Result<Option<(Head, Vec<u8>)>, SyncError> {
        let stream = conn.open(OPEN_WITHIN).await.map_err(SyncError::Conn)?;
        let (mut writer, mut reader) =
            (FrameWriter::new(stream.send), FrameReader::new(stream.recv));
        let asked = Instant::now();
        wire::send_ask(&mut writer, ask).await?;
        let answer = match wire::read_head(&mut reader).await? {
            Some(head) => Some((head, wire::read_body(&mut reader, head).await?)),
            None => None,
        };
        let length = answer.as_ref().map_or(0, |it| it.0.length);
        self.measured(conn.peer(), length, asked.elapsed());
        drop(writer.into_inner().finish().await);
        Ok(answer)
    }

    fn measured(&self, peer: NodeId, bytes: usize, within: Duration) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = links.entry(peer).or_default();
        let before = meter.view().level;
        meter.answered(bytes, within);
        let view = meter.view();
        drop(links);
        if view.level != before {
            events::LevelChanged { peer, view }.emit();
        }
    }

    /// Answers a question of a member, who is who the connection proved.
    ///
    /// # Errors
    ///
    /// [`SyncError`] when the stream broke or the question is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave entries taken in.
    pub async fn answer(
        &self,
        peer: NodeId,
        ask: Ask,
        (reader, writer): (&mut Reader, &mut Writer),
    ) -> Result<(), SyncError> {
        let answer = match ask {
            Ask::Root { root } => {
                let mine = root_of(&self.write().digests());
                wire::packed(json(&(mine == root))?, Level::None)
            }
            Ask::Digests { level } => {
                let digests = self.write().digests();
                wire::packed(json(&digests)?, level)
            }
            Ask::List { buckets, level } if buckets.len() <= BUCKETS => {
                let listed: Vec<_> = {
                    let graph = self.read();
                    let asked: BTreeSet<_> = buckets.into_iter().take(MOST_BUCKETS).collect();
                    asked.into_iter().flat_map(|it| graph.list(it).collect::<Vec<_>>()).collect()
                };
                wire::packed(json(&listed)?, level)
            }
            Ask::Give { ids, level } if ids.len() <= MOST_ENTRIES => {
                wire::packed(self.given(&ids)?, level)
            }
            Ask::Take { body } => {
                let bytes = wire::read_body(reader, body).await?;
                let entries: Vec<Entry> = parse(&bytes)?;
                if entries.len() > MOST_ENTRIES {
                    return wire::send_refusal(writer, Refusal::Invalid).await;
                }
                let taken = self.take_in(entries, peer).await?;
                wire::packed(json(&taken)?, Level::None)
            }
            Ask::Tensor { id, level, held } => match self.tensor_bytes(id).await {
                Ok(Some(found)) if held < Some(found.0.min(level.form())) => {
                    tensor_answer(found, level)
                }
                Ok(_) => return wire::send_refusal(writer, Refusal::NotHere).await,
                Err(fault) => {
                    wire::send_refusal(writer, Refusal::Store).await?;
                    return Err(fault.into());
                }
            },
            Ask::Probe => wire::packed(vec![0x5e; PROBE], Level::None),
            Ask::List { .. } | Ask::Give { .. } => {
                return wire::send_refusal(writer, Refusal::Invalid).await;
            }
        };
        wire::send_answer(writer, answer).await
    }

    /// Returns entries as an answer, in the order of the question; those that are gone are left out,
    /// and so is what no longer fits.
    fn given(&self, ids: &[ContentId]) -> Result<Vec<u8>, SyncError> {
        let graph = self.read();
        let mut text = vec![b'['];
        for checked in ids.iter().filter_map(|it| graph.by_id(it)) {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend(json(&checked.entry)?);
            if text.len() > MOST_GIVEN.min(MAX_BODY) {
                break;
            }
        }
        text.push(b']');
        Ok(text)
    }
}

/// Returns a tensor in the form that the level asks for, or in the coarser one that is here.
fn tensor_answer((form, bytes): (Form, Bytes), level: Level) -> (Head, Bytes) {
    let wanted = level.form();
    let (form, bytes) = match form {
        Form::Exact if wanted < form => {
            let float = |it: &[u8]| it.try_into().map_or(0.0, f32::from_le_bytes);
            match Tensor::new(bytes.chunks_exact(4).map(float).collect()) {
                Ok(tensor) => (wanted, tensor.bytes(wanted)),
                Err(_) => (form, bytes.to_vec()),
            }
        }
        form => (form, bytes.to_vec()),
    };
    let (head, body) = wire::packed(bytes, level);
    (Head { form: Some(form), ..head }, body)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, SyncError> {
    serde_json::to_vec(value).map_err(SyncError::Body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SyncError> {
    serde_json::from_slice(body).map_err(SyncError::Body)
}
