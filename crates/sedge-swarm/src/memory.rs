//! What an agent remembers as vectors and finds again by likeness.

use std::collections::{BTreeMap, HashMap};

use sedge_base::{ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most entries of a memory unless it is told another number.
pub const USUAL_ENTRIES: usize = 10_000;
/// The longest content of an entry, in bytes.
pub const MAX_CONTENT_BYTES: usize = 64 << 10;
/// The longest vector.
pub const MAX_DIMENSIONS: usize = 4096;
/// The most metadata pairs of an entry, and the longest key or value in bytes.
pub const MAX_METADATA: (usize, usize) = (32, 1024);

/// One remembered thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VectorEntry {
    /// A random UUID.
    pub id: String,
    /// The text.
    pub content: String,
    /// Its vector.
    pub embedding: Vec<f32>,
    /// More about it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// When it was stored, in ms since 1970.
    pub timestamp: Timestamp,
    /// The agent that stored it first.
    pub owner_agent: String,
    /// How often a search returned it here; each agent counts for itself.
    #[serde(default)]
    pub access_count: u64,
}

/// Why an entry is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The content or metadata is too long.
    #[error("an entry's content has at most {MAX_CONTENT_BYTES} bytes")]
    Content,
    /// The vector is empty, too long, or holds something that is not a number.
    #[error("a vector has 1 to {MAX_DIMENSIONS} finite numbers")]
    Vector,
}

impl EntryError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl VectorEntry {
    fn check(&self) -> Result<(), EntryError> {
        let (pairs, longest) = MAX_METADATA;
        let texts = self.metadata.iter().all(|(key, value)| key.len().max(value.len()) <= longest);
        if self.content.len() > MAX_CONTENT_BYTES || self.metadata.len() > pairs || !texts {
            return Err(EntryError::Content);
        }
        let sized = (1..=MAX_DIMENSIONS).contains(&self.embedding.len());
        let sound = sized && self.embedding.iter().all(|it| it.is_finite());
        if sound { Ok(()) } else { Err(EntryError::Vector) }
    }
}

/// What a merge of another agent's entries did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryMerge {
    /// Entries that are new here.
    pub new: usize,
    /// Entries that were here already.
    pub known: usize,
    /// Entries that were not taken: another owner than the sender, malformed, or no room.
    pub refused: usize,
}

/// The entries of one agent and of those it heard from.
#[derive(Debug)]
pub struct VectorMemory {
    agent_id: String,
    max_entries: usize,
    entries: HashMap<String, VectorEntry>,
}

impl VectorMemory {
    /// Makes an empty memory.
    pub fn new(agent_id: impl Into<String>, max_entries: usize) -> Self {
        Self { agent_id: agent_id.into(), max_entries, entries: HashMap::new() }
    }

    /// Stores an entry and returns its id; when the memory is full, the oldest goes.
    ///
    /// # Errors
    ///
    /// [`EntryError`] when it is too long or its vector is none.
    pub fn store(
        &mut self,
        content: &str,
        embedding: Vec<f32>,
        now: Timestamp,
    ) -> Result<String, EntryError> {
        let id = Uuid::new_v4().to_string();
        let entry = VectorEntry {
            id: id.clone(),
            content: content.to_owned(),
            embedding,
            metadata: BTreeMap::new(),
            timestamp: now,
            owner_agent: self.agent_id.clone(),
            access_count: 0,
        };
        entry.check()?;
        while self.entries.len() >= self.max_entries.max(1) {
            let oldest = self.entries.values().min_by_key(|it| (it.timestamp, &it.id));
            let Some(oldest) = oldest.map(|it| it.id.clone()) else { break };
            self.entries.remove(&oldest);
        }
        self.entries.insert(id.clone(), entry);
        Ok(id)
    }

    /// Returns the `k` entries most like `query` with their cosine, best first; a vector of another
    /// length scores 0. Only what is returned counts as accessed.
    pub fn search(&mut self, query: &[f32], k: usize) -> Vec<(String, f32)> {
        let scored = self.entries.values().map(|it| (cosine(query, &it.embedding), it.id.clone()));
        let mut scored: Vec<_> = scored.collect();
        scored.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        scored.truncate(k);
        let found = scored.into_iter().filter_map(|(score, id)| {
            let entry = self.entries.get_mut(&id)?;
            entry.access_count = entry.access_count.saturating_add(1);
            Some((entry.content.clone(), score))
        });
        found.collect()
    }

    /// Returns an entry by its id.
    pub fn get(&self, id: &str) -> Option<&VectorEntry> {
        self.entries.get(id)
    }

    /// Takes an entry out, and returns it.
    pub fn delete(&mut self, id: &str) -> Option<VectorEntry> {
        self.entries.remove(id)
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns this agent's own entries since a date, oldest first, `max` at most. Of a reply that
    /// is full, the caller asks again from the last one's date.
    pub fn own_since(&self, since: Timestamp, max: usize) -> Vec<VectorEntry> {
        let own = self.entries.values();
        let own = own.filter(|it| it.owner_agent == self.agent_id && it.timestamp >= since);
        let mut own: Vec<_> = own.cloned().collect();
        own.sort_by(|one, other| (one.timestamp, &one.id).cmp(&(other.timestamp, &other.id)));
        own.truncate(max);
        own
    }

    /// Takes another agent's own entries in: those that are unknown here, while there is room.
    pub fn merge(&mut self, from: &str, entries: Vec<VectorEntry>) -> MemoryMerge {
        let mut result = MemoryMerge::default();
        for entry in entries {
            if self.entries.contains_key(&entry.id) {
                result.known += 1;
                continue;
            }
            let theirs = entry.owner_agent == from && Uuid::parse_str(&entry.id).is_ok();
            let room = self.entries.len() < self.max_entries;
            if !theirs || !room || entry.check().is_err() {
                result.refused += 1;
                continue;
            }
            result.new += 1;
            self.entries.insert(entry.id.clone(), VectorEntry { access_count: 0, ..entry });
        }
        result
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    if one.len() != other.len() {
        return 0.0;
    }
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let lengths = dot(one, one).sqrt() * dot(other, other).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "a cosine is between -1 and 1")]
    let cosine = if lengths > 0.0 { (dot(one, other) / lengths) as f32 } else { 0.0 };
    cosine
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn the_likest_is_found_first_and_alone_counted() {
        let mut memory = VectorMemory::new("a", 10);
        let near = memory.store("near", vec![1.0, 0.1], NOW).unwrap();
        let far = memory.store("far", vec![0.0, 1.0], NOW).unwrap();
        let other = memory.store("other length", vec![1.0], NOW).unwrap();
        let found = memory.search(&[1.0, 0.0], 1);
        assert_eq!((found.len(), found[0].0.as_str()), (1, "near"));
        assert!(found[0].1 > 0.99);
        let counts = [near, far, other].map(|it| memory.get(&it).unwrap().access_count);
        assert_eq!(counts, [1, 0, 0]);
    }

    #[test]
    fn a_full_memory_loses_its_oldest() {
        let mut memory = VectorMemory::new("a", 2);
        let at = |ms: u64| NOW.plus(std::time::Duration::from_millis(ms));
        let second = memory.store("second", vec![1.0], at(2)).unwrap();
        let first = memory.store("first", vec![1.0], at(1)).unwrap();
        let third = memory.store("third", vec![1.0], at(3)).unwrap();
        assert!(memory.get(&first).is_none());
        assert!(memory.get(&second).is_some() && memory.get(&third).is_some());
    }

    #[test]
    fn a_merge_takes_what_is_new_and_the_senders_own() {
        let mut theirs = VectorMemory::new("b", 10);
        theirs.store("one", vec![1.0], NOW).unwrap();
        let mut memory = VectorMemory::new("a", 2);
        let mut entries = theirs.own_since(NOW, 10);
        let merged = memory.merge("b", entries.clone());
        assert_eq!(merged, MemoryMerge { new: 1, known: 0, refused: 0 });
        let again = memory.merge("b", entries.clone());
        assert_eq!(again, MemoryMerge { new: 0, known: 1, refused: 0 });
        entries[0].id = Uuid::new_v4().to_string();
        assert_eq!(memory.merge("c", entries.clone()).refused, 1, "not theirs");
        entries[0].embedding = vec![f32::NAN];
        assert_eq!(memory.merge("b", entries).refused, 1, "no vector");
        assert!(memory.own_since(NOW, 10).is_empty(), "what was merged is not passed off as own");
    }
}
