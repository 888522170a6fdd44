//! Values that are good for a while, in bounded number (seed 000, `EdgeCache`).

use std::collections::BTreeMap;
use std::time::Duration;

use sedge_base::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::seconds;

/// The most entries when nobody says otherwise (seed 000).
pub(crate) const MAX_SIZE: usize = 1000;

/// How long a value is good when nobody says otherwise (seed 000).
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheEntry {
    /// Its key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// When it was put; written as seconds since 1970.
    #[serde(with = "seconds")]
    pub created_at: Timestamp,
    /// How long it is good, in seconds.
    pub ttl_seconds: f64,
    /// How often it was got.
    pub access_count: u64,
}

impl CacheEntry {
    /// Returns whether it is older than its time; at the very end of its time it is still good.
    pub fn expired(&self, now: Timestamp) -> bool {
        now.since(self.created_at).as_secs_f64() > self.ttl_seconds
    }
}

/// How a cache fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Entries now, those among them that have expired.
    pub size: usize,
    /// The most entries.
    pub max_size: usize,
    /// Gets that found a value.
    pub hits: u64,
    /// Gets that found none.
    pub misses: u64,
    /// The share of hits, in percent; 0 when there was no get.
    pub hit_rate: f64,
    /// How long a value is good when nobody says otherwise, in seconds.
    pub default_ttl: f64,
}

/// Values by key, each good for a while.
///
/// When it is full, an entry that has expired makes room, or else the one that was got least often, the oldest of
/// several. It is held in memory; [`entries`](Self::entries) and [`restore`](Self::restore) carry it over a restart.
#[derive(Debug, Clone)]
pub struct EdgeCache {
    clock: Clock,
    max_size: usize,
    default_ttl: Duration,
    /// With the number of the put, so that the oldest is known.
    entries: BTreeMap<String, (u64, CacheEntry)>,
    puts: u64,
    hits: u64,
    misses: u64,
}

impl EdgeCache {
    /// Makes an empty cache of 1,000 entries that are good for five minutes.
    pub fn new(clock: Clock) -> Self {
        Self::of_size(clock, MAX_SIZE, DEFAULT_TTL)
    }

    /// Makes an empty cache of that many entries, one at least.
    pub const fn of_size(clock: Clock, max_size: usize, default_ttl: Duration) -> Self {
        let entries = BTreeMap::new();
        let max_size = if max_size == 0 { 1 } else { max_size };
        Self { clock, max_size, default_ttl, entries, puts: 0, hits: 0, misses: 0 }
    }

    /// Returns the value of a key that is still good.
    pub fn get(&mut self, key: &str) -> Option<&Value> {
        let now = self.clock.now();
        if self.entries.get(key).is_some_and(|it| it.1.expired(now)) {
            self.entries.remove(key);
        }
        let Some((_, entry)) = self.entries.get_mut(key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        entry.access_count += 1;
        Some(&entry.value)
    }

    /// Puts a value in place of the one that the key had; good for the usual time when `ttl` is left out. Returns
    /// the key that had to go, if one had.
    pub fn put(&mut self, key: &str, value: Value, ttl: Option<Duration>) -> Option<String> {
        let created_at = self.clock.now();
        let full = self.entries.len() >= self.max_size && !self.entries.contains_key(key);
        let gone = if full { self.evict(created_at) } else { None };
        let ttl_seconds = ttl.unwrap_or(self.default_ttl).as_secs_f64();
        let key = key.to_owned();
        let entry =
            CacheEntry { key: key.clone(), value, created_at, ttl_seconds, access_count: 0 };
        self.puts += 1;
        self.entries.insert(key, (self.puts, entry));
        gone
    }

    /// Forgets a key; returns whether it was there.
    pub fn delete(&mut self, key: &str) -> bool {
        self.entries.remove(key).is_some()
    }

    /// Forgets everything; returns how many entries there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.entries).len()
    }

    /// Forgets what has expired; returns how many entries that were.
    pub fn purge_expired(&mut self) -> usize {
        let (now, before) = (self.clock.now(), self.entries.len());
        self.entries.retain(|_, it| !it.1.expired(now));
        before - self.entries.len()
    }

    /// Returns how many entries there are, those among them that have expired.
    pub fn size(&self) -> usize {
        self.entries.len()
    }

    /// Returns the share of gets that found a value, in percent; 0 when there was none.
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            all => self.hits as f64 / all as f64 * 100.0,
        }
    }

    /// Returns how the cache fares.
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            size: self.entries.len(),
            max_size: self.max_size,
            hits: self.hits,
            misses: self.misses,
            hit_rate: self.hit_rate(),
            default_ttl: self.default_ttl.as_secs_f64(),
        }
    }

    /// Returns every entry, the oldest put first.
    pub fn entries(&self) -> Vec<CacheEntry> {
        let mut all: Vec<_> = self.entries.values().collect();
        all.sort_by_key(|it| it.0);
        all.into_iter().map(|it| it.1.clone()).collect()
    }

    /// Returns one entry as it is, without counting it as got.
    pub fn entry(&self, key: &str) -> Option<&CacheEntry> {
        self.entries.get(key).map(|it| &it.1)
    }

    /// Takes in an entry that was kept elsewhere, with its age and its count, as far as there is room.
    pub fn restore(&mut self, entry: CacheEntry) {
        if self.entries.len() < self.max_size && !entry.expired(self.clock.now()) {
            self.puts += 1;
            self.entries.insert(entry.key.clone(), (self.puts, entry));
        }
    }

    fn evict(&mut self, now: Timestamp) -> Option<String> {
        let weight = |(put, entry): &(u64, CacheEntry)| {
            // What has expired goes first, then what was got least often, then what is oldest.
            (!entry.expired(now), entry.access_count, *put)
        };
        let key = self.entries.iter().min_by_key(|it| weight(it.1)).map(|it| it.0.clone())?;
        self.entries.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> Clock {
        Clock::manual(Timestamp::from_millis(1_000_000))
    }

    #[test]
    fn the_least_used_goes_and_what_has_expired_goes_before() {
        let clock = clock();
        let mut cache = EdgeCache::of_size(clock.clone(), 2, SECOND);
        for key in ["a", "b"] {
            assert_eq!(cache.put(key, json!(key), None), None);
        }
        assert_eq!(cache.get("a"), Some(&json!("a")));
        assert_eq!(cache.put("c", json!(3), Some(9 * SECOND)).as_deref(), Some("b"));
        clock.advance(2 * SECOND);
        assert_eq!(
            cache.put("d", json!(4), None).as_deref(),
            Some("a"),
            "it was used, and is over"
        );
        assert_eq!(cache.put("c", json!(5), None), None, "a key that is there needs no room");
        assert_eq!((cache.delete("c"), cache.delete("c"), cache.clear()), (true, false, 1));
    }

    #[test]
    fn a_value_is_good_until_the_end_of_its_time_and_not_after() {
        let clock = clock();
        let mut cache = EdgeCache::new(clock.clone());
        assert_eq!(cache.hit_rate(), 0.0);
        cache.put("a", json!(1), None);
        clock.advance(300 * SECOND);
        assert_eq!(cache.get("a"), Some(&json!(1)), "the seed compares strictly");
        clock.advance(Duration::from_millis(1));
        assert_eq!((cache.size(), cache.get("a")), (1, None));
        assert_eq!(
            serde_json::to_value(cache.stats()).unwrap(),
            json!({
                "size": 0, "max_size": 1000, "hits": 1, "misses": 1, "hit_rate": 50.0,
                "default_ttl": 300.0,
            })
        );
        cache.put("b", json!(2), Some(SECOND));
        clock.advance(2 * SECOND);
        assert_eq!((cache.purge_expired(), cache.size()), (1, 0));
    }

    proptest! {
        #[test]
        fn it_never_grows_beyond_its_size(
            most in 0..5_usize,
            acts in proptest::collection::vec((0..3_u8, 0..8_u8, 0..4_u64), 0..80),
        ) {
            let clock = clock();
            let mut cache = EdgeCache::of_size(clock.clone(), most, 2 * SECOND);
            for (act, key, seconds) in acts {
                let key = key.to_string();
                match act {
                    0 => {
                        cache.put(&key, json!(seconds), Some(seconds as u32 * SECOND));
                        prop_assert_eq!(&cache.entry(&key).unwrap().value, &json!(seconds));
                    }
                    1 => {
                        let good = cache.entry(&key).is_some_and(|it| !it.expired(clock.now()));
                        prop_assert_eq!(cache.get(&key).is_some(), good);
                    }
                    _ => clock.advance(seconds as u32 * SECOND),
                }
                prop_assert!(cache.size() <= most.max(1));
            }
            let text = serde_json::to_string(&cache.entries()).unwrap();
            let mut again = EdgeCache::of_size(clock.clone(), most, SECOND);
            for entry in serde_json::from_str::<Vec<CacheEntry>>(&text).unwrap() {
                again.restore(entry);
            }
            cache.purge_expired();
            prop_assert_eq!(again.entries(), cache.entries());
        }
    }
}
