//! What agents learn about which action pays in which state, and how they share it.
//!
//! Every agent counts for itself; what is known of a state and action is the mean over those who
//! tried it, weighted by their visits. An agent's message changes its own figures alone, and only
//! to later ones, so repeated and reordered messages change nothing (the older protocol's merge
//! shrank what it knew each time).

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sedge_base::{Clock, ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::compress::{UnpackError, pack, unpack};

/// The most patterns of one agent.
pub const MAX_PATTERNS: usize = 10_000;
/// The most agents whose figures are kept.
pub const MAX_CONTRIBUTORS: usize = 1_000;
/// The longest state or action, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// The largest unpacked state that is read, in bytes.
pub const MAX_STATE_BYTES: usize = 8 << 20;
/// A value beyond this is clipped when it comes from another agent, and refused from one's own.
pub const MAX_VALUE: f64 = 1e6;
/// More visits than this are clipped.
pub const MAX_VISITS: u64 = 1 << 40;

/// How far a new reward moves a value.
const RATE: f64 = 0.1;

/// What is known of one action in one state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// The state.
    pub state: String,
    /// The action.
    pub action: String,
    /// What the action pays.
    pub q_value: f64,
    /// How often it was tried.
    pub visits: u64,
    /// When it was last tried, in ms since 1970.
    pub last_update: Timestamp,
    /// How sure that is: 1 − 1/(visits + 1).
    pub confidence: f64,
}

/// One agent's own patterns, as they travel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningState {
    /// Whose they are.
    pub agent_id: String,
    /// By `state|action`.
    pub patterns: BTreeMap<String, Pattern>,
    /// The version up to which they reach; every update counts it up.
    pub version: u64,
    /// When this was written, in ms since 1970.
    pub timestamp: Timestamp,
}

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeResult {
    /// Whose state it was.
    pub peer_id: String,
    /// Patterns whose figures changed and of which something was known before.
    pub merged_patterns: usize,
    /// Patterns of which nothing was known before.
    pub new_patterns: usize,
    /// Figures that were out of bounds and clipped.
    pub clipped: usize,
    /// Patterns that were not taken: malformed, or no room.
    pub refused: usize,
    /// This agent's own version.
    pub local_version: u64,
}

/// Sums over what is known here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SwarmStats {
    /// This agent and those whose figures are known.
    pub total_agents: usize,
    /// States and actions.
    pub total_patterns: usize,
    /// Visits of all agents.
    pub total_visits: u64,
    /// The mean confidence; 0 when nothing is known.
    pub avg_confidence: f64,
    /// This agent's own version.
    pub local_version: u64,
}

/// Why a state was not merged. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// It is not packed as it should be, or is too large.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// It is not a learning state.
    #[error("the bytes are no learning state")]
    Form(#[source] serde_json::Error),
    /// It is another agent's than the one it came from.
    #[error("the state is of `{named}`, it came from `{from}`")]
    OtherAgent {
        /// Whose it says it is.
        named: String,
        /// From whom it came.
        from: String,
    },
    /// It is this agent's own.
    #[error("an agent does not merge its own state")]
    Own,
    /// It has too many patterns, or too many agents are known.
    #[error("the state has too many patterns, or too many agents are known")]
    Full,
}

impl MergeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unpack(err) => err.kind(),
            Self::Form(_) | Self::Own => ErrorKind::Invalid,
            Self::OtherAgent { .. } => ErrorKind::Denied,
            Self::Full => ErrorKind::Exhausted,
        }
    }
}

/// The state could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the learning state cannot be written")]
pub struct SerializeError(#[from] serde_json::Error);

impl SerializeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// One agent's figures for one state and action. Ordered by what is later.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    value: f64,
    visits: u64,
    last_update: Timestamp,
    version: u64,
}

impl Figures {
    const NONE: Self =
        Self { value: 0.0, visits: 0, last_update: Timestamp::from_millis(0), version: 0 };

    /// Any total order makes the merge idempotent, commutative and associative; this one prefers
    /// what was tried more often, then later.
    fn is_later_than(&self, other: &Self) -> bool {
        let order = self.visits.cmp(&other.visits);
        let order = order.then(self.last_update.cmp(&other.last_update));
        order.then(self.value.total_cmp(&other.value)).is_gt()
    }
}

type OfState = BTreeMap<(String, String), Figures>;

#[derive(Debug, Default)]
struct Known {
    own: OfState,
    others: BTreeMap<String, OfState>,
    version: u64,
}

/// Learns for one agent and merges what others learned; `&self` throughout, to be shared.
///
/// The methods return futures because the older API does; they do their work at once.
#[derive(Debug)]
pub struct IntelligenceSync {
    agent_id: String,
    clock: Clock,
    known: Mutex<Known>,
}

impl IntelligenceSync {
    /// Makes an agent's state, empty, with the machine's clock.
    pub fn new(agent_id: impl Into<String>) -> Self {
        Self::with_clock(agent_id, Clock::machine())
    }

    /// Makes an agent's state with another clock.
    pub fn with_clock(agent_id: impl Into<String>, clock: Clock) -> Self {
        Self { agent_id: agent_id.into(), clock, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from one reward: the value moves a tenth of the way to it. Returns whether it was
    /// counted: rewards beyond [`MAX_VALUE`], too long names, and patterns beyond [`MAX_PATTERNS`]
    /// are not.
    pub fn update_pattern(&self, state: &str, action: &str, reward: f64) -> Ready<bool> {
        if reward.is_nan() || reward.abs() > MAX_VALUE || !named(state) || !named(action) {
            return ready(false);
        }
        let now = self.clock.now();
        let mut known = self.known();
        let key = (state.to_owned(), action.to_owned());
        if known.own.len() >= MAX_PATTERNS && !known.own.contains_key(&key) {
            return ready(false);
        }
        known.version += 1;
        let version = known.version;
        let figures = known.own.entry(key).or_insert(Figures::NONE);
        figures.value += RATE * (reward - figures.value);
        figures.visits = figures.visits.saturating_add(1).min(MAX_VISITS);
        figures.last_update = now;
        figures.version = version;
        ready(true)
    }

    /// Returns what is known of a state and action.
    pub fn pattern(&self, state: &str, action: &str) -> Option<Pattern> {
        self.known().merged(state, action)
    }

    /// Returns the action with the highest value among those offered, and how sure that is; `None`
    /// when none was ever tried.
    pub fn get_best_action(&self, state: &str, actions: &[String]) -> Ready<Option<(String, f64)>> {
        let known = self.known();
        let tried = actions.iter().filter_map(|it| known.merged(state, it));
        let best = tried.max_by(|one, other| one.q_value.total_cmp(&other.q_value));
        ready(best.map(|it| (it.action, it.confidence)))
    }

    /// Returns this agent's own patterns that changed after a version, oldest change first, `max`
    /// at most; the result's version is where to go on.
    pub fn get_delta(&self, since_version: u64, max: usize) -> LearningState {
        let known = self.known();
        let mut changed: Vec<_> =
            known.own.iter().filter(|(_, it)| it.version > since_version).collect();
        changed.sort_by_key(|(_, it)| it.version);
        let whole = changed.len() <= max;
        changed.truncate(max);
        let reached = changed.last().map_or(since_version, |(_, it)| it.version);
        let patterns = changed.into_iter().map(|((state, action), figures)| {
            (format!("{state}|{action}"), pattern(state, action, std::iter::once(figures)))
        });
        LearningState {
            agent_id: self.agent_id.clone(),
            patterns: patterns.collect(),
            version: if whole { known.version } else { reached },
            timestamp: self.clock.now(),
        }
    }

    /// Returns this agent's own patterns as they travel: JSON under LZ4 with the size before it.
    ///
    /// # Errors
    ///
    /// [`SerializeError`] when they cannot be written.
    pub fn serialize_state(&self) -> Ready<Result<Vec<u8>, SerializeError>> {
        ready(encode(&self.get_delta(0, MAX_PATTERNS), true))
    }

    /// Takes in what a peer learned itself; the caller knows that the bytes are from that peer.
    ///
    /// # Errors
    ///
    /// [`MergeError`], which says why nothing was merged.
    pub fn merge_peer_state(
        &self,
        peer_id: &str,
        bytes: &[u8],
    ) -> Ready<Result<MergeResult, MergeError>> {
        ready(decode(bytes, true).and_then(|state| self.merge(peer_id, state)))
    }

    /// Takes in a state that was read already; see [`IntelligenceSync::merge_peer_state`].
    ///
    /// # Errors
    ///
    /// [`MergeError`], which says why nothing was merged.
    pub fn merge(&self, peer_id: &str, state: LearningState) -> Result<MergeResult, MergeError> {
        if state.agent_id != peer_id {
            let from = peer_id.to_owned();
            return Err(MergeError::OtherAgent { named: state.agent_id, from });
        }
        if peer_id == self.agent_id {
            return Err(MergeError::Own);
        }
        let mut known = self.known();
        let crowded = known.others.len() >= MAX_CONTRIBUTORS && !known.others.contains_key(peer_id);
        if state.patterns.len() > MAX_PATTERNS || crowded {
            return Err(MergeError::Full);
        }
        let (mut merged_patterns, mut new_patterns) = (0, 0);
        let (mut clipped, mut refused) = (0, 0);
        for pattern in state.patterns.into_values() {
            let figures = Figures {
                value: pattern.q_value.clamp(-MAX_VALUE, MAX_VALUE),
                visits: pattern.visits.min(MAX_VISITS),
                last_update: pattern.last_update,
                version: 0,
            };
            let key = (pattern.state, pattern.action);
            let theirs = known.others.get(peer_id);
            let before = theirs.and_then(|it| it.get(&key)).copied();
            let room = before.is_some() || theirs.is_none_or(|it| it.len() < MAX_PATTERNS);
            let sound = pattern.q_value.is_finite() && figures.visits > 0;
            if !sound || !room || !named(&key.0) || !named(&key.1) {
                refused += 1;
                continue;
            }
            let same = figures.value.to_bits() == pattern.q_value.to_bits();
            clipped += usize::from(!same || figures.visits != pattern.visits);
            if before.is_some_and(|it| !figures.is_later_than(&it)) {
                continue;
            }
            let unknown = known.merged(&key.0, &key.1).is_none();
            if unknown {
                new_patterns += 1;
            } else {
                merged_patterns += 1;
            }
            known.others.entry(peer_id.to_owned()).or_default().insert(key, figures);
        }
        let local_version = known.version;
        let peer_id = peer_id.to_owned();
        Ok(MergeResult { peer_id, merged_patterns, new_patterns, clipped, refused, local_version })
    }

    /// Returns sums over what is known here.
    pub fn get_swarm_stats(&self) -> Ready<SwarmStats> {
        let known = self.known();
        let all = known.others.values().flat_map(BTreeMap::keys).chain(known.own.keys());
        let keys: std::collections::BTreeSet<_> = all.collect();
        let patterns: Vec<_> =
            keys.iter().filter_map(|(state, action)| known.merged(state, action)).collect();
        let sum: f64 = patterns.iter().map(|it| it.confidence).sum();
        #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53")]
        let avg_confidence = if patterns.is_empty() { 0.0 } else { sum / patterns.len() as f64 };
        ready(SwarmStats {
            total_agents: known.others.len() + 1,
            total_patterns: patterns.len(),
            total_visits: patterns.iter().fold(0, |sum, it| sum.saturating_add(it.visits)),
            avg_confidence,
            local_version: known.version,
        })
    }
}

impl Known {
    /// Returns the mean over all agents that tried this, weighted by their visits.
    fn merged(&self, state: &str, action: &str) -> Option<Pattern> {
        let key = (state.to_owned(), action.to_owned());
        let all = self.others.values().chain([&self.own]).filter_map(|it| it.get(&key));
        let mut all = all.peekable();
        all.peek()?;
        Some(pattern(state, action, all))
    }
}

#[expect(clippy::cast_precision_loss, reason = "visits are at most 2^40 for each of 1,000 agents")]
fn pattern<'a>(state: &str, action: &str, all: impl Iterator<Item = &'a Figures>) -> Pattern {
    let (mut sum, mut visits, mut last_update) = (0.0, 0_u64, Timestamp::default());
    let (mut count, mut only) = (0, 0.0);
    for it in all {
        sum += it.value * it.visits as f64;
        visits = visits.saturating_add(it.visits);
        last_update = last_update.max(it.last_update);
        (count, only) = (count + 1, it.value);
    }
    // One agent's value stays as it is, to the last bit.
    let q_value = if count == 1 { only } else { sum / visits as f64 };
    let confidence = 1.0 - 1.0 / (visits as f64 + 1.0);
    let (state, action) = (state.to_owned(), action.to_owned());
    Pattern { state, action, q_value, visits, last_update, confidence }
}

fn named(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
}

/// Writes a state as it travels.
pub(crate) fn encode(state: &LearningState, packed: bool) -> Result<Vec<u8>, SerializeError> {
    let plain = serde_json::to_vec(state)?;
    Ok(if packed { pack(&plain) } else { plain })
}

/// Reads a state as it travelled.
pub(crate) fn decode(bytes: &[u8], packed: bool) -> Result<LearningState, MergeError> {
    if !packed {
        return serde_json::from_slice(bytes).map_err(MergeError::Form);
    }
    serde_json::from_slice(&unpack(bytes, MAX_STATE_BYTES)?).map_err(MergeError::Form)
}

#[cfg(test)]
mod tests;
