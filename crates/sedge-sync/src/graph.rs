//! The graph in memory: the standing entry of each key, in 256 buckets with a digest each.
//!
//! Knows no disk, network or clock: what stands follows from the set of entries that it was given,
//! in whatever order they came.

use std::collections::BTreeMap;
use std::sync::Arc;

use sedge_base::{ContentId, NodeId};
use serde::{Deserialize, Serialize};

use crate::entry::{Checked, Fact};
use crate::ham::{Verdict, judge};
use crate::sealed::{GRANTS, grant_key, granted};
use crate::space::Space;
use crate::state::State;
use crate::tensor::TensorRef;
use crate::value::Value;

/// The most keys that a node keeps.
pub const MAX_ENTRIES: usize = 1 << 16;

/// The most entries that wait for their time.
pub(crate) const MAX_DEFERRED: usize = 1024;

/// How many buckets there are: as many as a byte numbers.
pub(crate) const BUCKETS: usize = 256;

/// Where an entry lies.
pub(crate) type Slot = (Space, String, String);

/// What a node tells of one key: enough to see whose entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// The hash of the slot.
    pub(crate) slot: ContentId,
    /// The id of its entry.
    pub(crate) id: ContentId,
    /// The entry's state.
    pub(crate) state: State,
}

#[derive(Debug, Default)]
struct Bucket {
    slots: BTreeMap<ContentId, Slot>,
    /// `None` after a change.
    digest: Option<ContentId>,
}

/// The graph in memory.
#[derive(Debug)]
pub(crate) struct Graph {
    slots: BTreeMap<Slot, Arc<Checked>>,
    buckets: Vec<Bucket>,
    by_id: BTreeMap<ContentId, Slot>,
    deferred: BTreeMap<(State, ContentId), Checked>,
}

/// What became of entries that came in.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// These stand, once they are on disk; at most one of each slot.
    pub(crate) take: BTreeMap<Slot, Checked>,
    /// These wait.
    pub(crate) defer: Vec<Checked>,
    /// How many were refused: too far ahead, by nobody who may, or no room.
    pub(crate) refused: usize,
}

impl Default for Graph {
    fn default() -> Self {
        let buckets = std::iter::repeat_with(Bucket::default).take(BUCKETS).collect();
        Self { slots: BTreeMap::new(), buckets, by_id: BTreeMap::new(), deferred: BTreeMap::new() }
    }
}

fn slot_of(fact: &Fact) -> Slot {
    (fact.space.clone(), fact.soul.clone(), fact.key.clone())
}

fn hash_of((space, soul, key): &Slot) -> ContentId {
    // Neither souls nor keys hold control characters.
    ContentId::of(format!("{space}\n{soul}\n{key}").as_bytes())
}

fn bucket_of(slot: &ContentId) -> usize {
    slot.as_bytes().first().map_or(0, |it| usize::from(*it))
}

impl Graph {
    /// Judges entries that were checked, as of `now`; changes nothing.
    ///
    /// An entry that this node itself makes now does not wait for its time.
    pub(crate) fn judge(&self, entries: Vec<Checked>, now: State, own: bool) -> Judged {
        let mut judged = Judged::default();
        let mut room = MAX_ENTRIES.saturating_sub(self.slots.len());
        for checked in entries {
            let fact = &checked.entry.fact;
            let slot = slot_of(fact);
            let now = if own { now.max(fact.state) } else { now };
            let known = judged.take.get(&slot).or_else(|| self.slots.get(&slot).map(|it| &**it));
            let verdict = match known {
                _ if !self.may_write(fact, &judged.take) => Verdict::TooFarAhead,
                None => judge((&fact.value, fact.state), None, now),
                Some(known) => {
                    let old = &known.entry.fact;
                    match judge((&fact.value, fact.state), Some((&old.value, old.state)), now) {
                        // One value by two authors: all nodes keep the same one's.
                        Verdict::Same if checked.id > known.id => Verdict::Take,
                        it => it,
                    }
                }
            };
            match verdict {
                Verdict::Take if known.is_some() || room > 0 => {
                    room -= usize::from(known.is_none());
                    judged.take.insert(slot, checked);
                }
                Verdict::Defer => judged.defer.push(checked),
                Verdict::Take | Verdict::TooFarAhead => judged.refused += 1,
                Verdict::Historical | Verdict::Same => {}
            }
        }
        judged
    }

    /// Returns whether a closed space's founder gave the author the key that was used.
    fn may_write(&self, fact: &Fact, more: &BTreeMap<Slot, Checked>) -> bool {
        let Space::Closed { founder, .. } = &fact.space else { return true };
        if fact.author == *founder {
            return true;
        }
        let has = |number| {
            let slot = grant_slot(&fact.space, &fact.author, number);
            self.slots.contains_key(&slot) || more.contains_key(&slot)
        };
        match &fact.value {
            Value::Sealed(it) => has(it.key),
            _ => has(1) || self.newest_grant(&fact.space, &fact.author).is_some(),
        }
    }

    /// Puts what was judged, and is on disk, in its place; returns the tensors that nothing names any
    /// more.
    pub(crate) fn apply(&mut self, take: &[Arc<Checked>]) -> Vec<ContentId> {
        let mut unnamed = Vec::new();
        for checked in take {
            let slot = slot_of(&checked.entry.fact);
            let hash = hash_of(&slot);
            if let Some(bucket) = self.buckets.get_mut(bucket_of(&hash)) {
                bucket.digest = None;
                bucket.slots.insert(hash, slot.clone());
            }
            self.by_id.insert(checked.id, slot.clone());
            if let Some(old) = self.slots.insert(slot, Arc::clone(checked)) {
                if old.id != checked.id {
                    self.by_id.remove(&old.id);
                }
                if let Value::Tensor(it) = &old.entry.fact.value {
                    unnamed.push(it.id());
                }
            }
        }
        if !unnamed.is_empty() {
            let named: Vec<_> = self.tensors().map(|it| it.id()).collect();
            unnamed.retain(|it| !named.contains(it));
        }
        unnamed
    }

    /// Lets entries wait for their time; returns how many there was no room for. The latest give
    /// way first.
    pub(crate) fn defer(&mut self, entries: Vec<Checked>) -> usize {
        for checked in entries {
            self.deferred.insert((checked.entry.fact.state, checked.id), checked);
        }
        let mut dropped = 0;
        while self.deferred.len() > MAX_DEFERRED {
            self.deferred.pop_last();
            dropped += 1;
        }
        dropped
    }

    /// Takes out what has waited long enough.
    pub(crate) fn due(&mut self, now: State) -> Vec<Checked> {
        let end = (now.next(), ContentId::from_bytes([0; 32]));
        let later = self.deferred.split_off(&end);
        std::mem::replace(&mut self.deferred, later).into_values().collect()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.deferred.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, slot: &Slot) -> Option<&Arc<Checked>> {
        self.slots.get(slot)
    }

    pub(crate) fn by_id(&self, id: &ContentId) -> Option<&Arc<Checked>> {
        self.slots.get(self.by_id.get(id)?)
    }

    /// Returns every key of a node of the graph.
    pub(crate) fn soul<'a>(
        &'a self,
        space: &'a Space,
        soul: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Checked>> {
        let from = (space.clone(), soul.to_owned(), String::new());
        let range = self.slots.range(from..);
        range.take_while(move |((at, of, _), _)| at == space && of == soul).map(|it| it.1)
    }

    /// Returns every standing entry.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Checked>> {
        self.slots.values()
    }

    /// Returns the tensors that standing entries name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &TensorRef> {
        self.slots.values().filter_map(|it| match &it.entry.fact.value {
            Value::Tensor(it) => Some(it),
            _ => None,
        })
    }

    /// Returns the highest key that a member was given.
    pub(crate) fn newest_grant(&self, space: &Space, member: &NodeId) -> Option<u32> {
        let given = |it: &Arc<Checked>| granted(&it.entry.fact.key).filter(|it| it.0 == *member);
        let grants = self.soul(space, GRANTS);
        grants.filter_map(|it| Some(given(it)?.1)).max()
    }

    /// Returns the grant of one key to a member.
    pub(crate) fn grant(
        &self,
        space: &Space,
        member: &NodeId,
        number: u32,
    ) -> Option<&Arc<Checked>> {
        self.slots.get(&grant_slot(space, member, number))
    }

    /// Returns who was given which keys of a space.
    pub(crate) fn grants(&self, space: &Space) -> Vec<(NodeId, u32)> {
        self.soul(space, GRANTS).filter_map(|it| granted(&it.entry.fact.key)).collect()
    }

    /// Returns the digest of each bucket; buckets of equal entries have equal digests.
    pub(crate) fn digests(&mut self) -> Vec<ContentId> {
        let slots = &self.slots;
        let digest = |bucket: &mut Bucket| {
            let compute = || {
                let held =
                    bucket.slots.iter().filter_map(|(hash, slot)| Some((hash, slots.get(slot)?)));
                let text: Vec<u8> = held
                    .flat_map(|(hash, it)| [*hash.as_bytes(), *it.id.as_bytes()])
                    .flatten()
                    .collect();
                ContentId::of(&text)
            };
            *bucket.digest.get_or_insert_with(compute)
        };
        self.buckets.iter_mut().map(digest).collect()
    }

    /// Returns what stands in a bucket.
    pub(crate) fn list(&self, bucket: u8) -> impl Iterator<Item = Listed> {
        let slots = self.buckets.get(usize::from(bucket)).map(|it| it.slots.iter());
        slots.into_iter().flatten().filter_map(|(hash, slot)| {
            let held = self.slots.get(slot)?;
            Some(Listed { slot: *hash, id: held.id, state: held.entry.fact.state })
        })
    }

    /// Returns whether an entry that another node lists may stand here.
    pub(crate) fn wants(&self, listed: &Listed) -> bool {
        let bucket = self.buckets.get(bucket_of(&listed.slot));
        let held = bucket.and_then(|it| self.slots.get(it.slots.get(&listed.slot)?));
        let newer = held.is_none_or(|it| listed.id != it.id && listed.state >= it.entry.fact.state);
        newer && !self.deferred.contains_key(&(listed.state, listed.id))
    }
}

fn grant_slot(space: &Space, member: &NodeId, number: u32) -> Slot {
    (space.clone(), GRANTS.to_owned(), grant_key(member, number))
}

/// Returns the hash of all buckets' digests.
pub(crate) fn root_of(digests: &[ContentId]) -> ContentId {
    let text: Vec<u8> = digests.iter().flat_map(|it| *it.as_bytes()).collect();
    ContentId::of(&text)
}

#[cfg(test)]
mod tests;
