//! When something was said: the state of a key.

use sedge_base::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// A key's state: thousandths of milliseconds since 1970.
///
/// What GUN writes as milliseconds with a fractional counter (`1795225335.001`), as one whole number,
/// so that two nodes never round it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct State(u64);

impl State {
    /// The largest state: what every JSON reader keeps exactly.
    pub const MAX: Self = Self(sedge_trust::canonical::MAX_INTEGER);

    /// Returns the first state of a date.
    pub fn at(date: Timestamp) -> Self {
        Self(date.as_millis().saturating_mul(1000)).min(Self::MAX)
    }

    /// Returns the last state of a date's millisecond.
    pub fn end_of(date: Timestamp) -> Self {
        Self(Self::at(date).0.saturating_add(999)).min(Self::MAX)
    }

    /// Returns the state with this many thousandths of milliseconds, if there is one.
    pub fn from_thousandths(count: u64) -> Option<Self> {
        (Self(count) <= Self::MAX).then_some(Self(count))
    }

    /// Returns the thousandths of milliseconds since 1970.
    pub const fn as_thousandths(self) -> u64 {
        self.0
    }

    /// Returns the date, to the millisecond.
    pub const fn date(self) -> Timestamp {
        Timestamp::from_millis(self.0 / 1000)
    }

    /// Returns the state after this one; the largest stays.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1)).min(Self::MAX)
    }

    /// Returns the state this many milliseconds later; the largest at most.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1000))).min(Self::MAX)
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let count = u64::deserialize(input)?;
        Self::from_thousandths(count)
            .ok_or_else(|| serde::de::Error::custom("a state is at most 2^53 - 1"))
    }
}
