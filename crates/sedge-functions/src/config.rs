//! `[functions]`: how much the guests of this node may use, as written and as checked.

use std::num::NonZeroU32;
use std::time::Duration;

use sedge_base::{ByteSize, ConfigError};
use serde::{Deserialize, Deserializer};

use crate::outbound::{Place, Reach, Walls};

/// The most places of this machine and its networks that are named.
const MOST_LOCAL: usize = 64;

/// `[functions]`, as written in the node's config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FunctionsSection {
    /// The most fuel (about one per Wasm instruction) of one task.
    pub fuel: u64,
    /// The most memory of one task, such as `128MiB`; at most 4 GiB.
    #[serde(deserialize_with = "size_from_text")]
    pub memory: ByteSize,
    /// The most wall-clock time of one task, such as `30s`, waiting included.
    #[serde(with = "humantime_serde")]
    pub time: Duration,
    /// The most output of one task, such as `8MiB`.
    #[serde(deserialize_with = "size_from_text")]
    pub output: ByteSize,
    /// How many tasks run at the same time; the node lowers it where the kernel allows less.
    pub max_concurrent: u32,
    /// How many more tasks may wait for a place; what comes on top is refused as busy.
    pub max_waiting: u32,
    /// How many instances have their memory reserved ahead; 0 reserves nothing and starts slower.
    pub pool: u32,
    /// The largest component that can be deployed, such as `32MiB`.
    #[serde(deserialize_with = "size_from_text")]
    pub max_component_size: ByteSize,
    /// How much precompiled code is kept on disk, such as `1GiB`; the oldest goes first.
    #[serde(deserialize_with = "size_from_text")]
    pub cache_size: ByteSize,
    /// How far functions reach that are deployed with places to send requests or open connections to: `none`, or
    /// `public` addresses and what `local_places` names.
    pub outbound: Reach,
    /// Places on this machine and its networks that functions may be deployed with, such as
    /// `http://127.0.0.1:8080`, `redis://127.0.0.1` or `tcp://10.0.0.0/8:5432`; at most 64.
    pub local_places: Vec<Place>,
}

impl Default for FunctionsSection {
    fn default() -> Self {
        Self {
            fuel: 100_000_000_000,
            memory: ByteSize::from_mib(128),
            time: Duration::from_secs(30),
            output: ByteSize::from_mib(8),
            max_concurrent: 1000,
            max_waiting: 1000,
            pool: 1000,
            max_component_size: ByteSize::from_mib(32),
            cache_size: ByteSize::from_mib(1024),
            outbound: Reach::default(),
            local_places: Vec::new(),
        }
    }
}

/// `[functions]`, as checked.
#[derive(Debug, Clone)]
pub struct FunctionsConfig {
    pub(crate) fuel: u64,
    pub(crate) memory: ByteSize,
    pub(crate) time: Duration,
    pub(crate) output: ByteSize,
    pub(crate) max_concurrent: NonZeroU32,
    pub(crate) max_waiting: u32,
    pub(crate) pool: u32,
    pub(crate) max_component_size: ByteSize,
    pub(crate) cache_size: ByteSize,
    pub(crate) walls: Walls,
}

/// The address space of a 32-bit guest.
const MOST_MEMORY: ByteSize = ByteSize::from_mib(4096);
/// The longest task: beyond it, work belongs into steps.
const MOST_TIME: Duration = Duration::from_secs(24 * 3600);
/// A pool of this size takes half of a 47-bit address space.
const MOST_POOL: u32 = 16_000;

impl TryFrom<FunctionsSection> for FunctionsConfig {
    type Error = ConfigError;

    fn try_from(section: FunctionsSection) -> Result<Self, ConfigError> {
        let FunctionsSection {
            fuel,
            memory,
            time,
            output,
            max_concurrent,
            max_waiting,
            pool,
            max_component_size,
            cache_size,
            outbound,
            local_places,
        } = section;
        let wrong = |key, must_be| Err(ConfigError { key, must_be });
        if local_places.len() > MOST_LOCAL {
            return wrong("functions.local_places", "at most 64 places");
        }
        if fuel == 0 {
            return wrong("functions.fuel", "at least 1");
        }
        if memory < ByteSize::from_bytes(64 << 10) || memory > MOST_MEMORY {
            return wrong("functions.memory", "64KiB to 4GiB");
        }
        if time < Duration::from_millis(1) || time > MOST_TIME {
            return wrong("functions.time", "1ms to 24h");
        }
        if output > MOST_MEMORY {
            return wrong("functions.output", "at most 4GiB");
        }
        let Some(max_concurrent) = NonZeroU32::new(max_concurrent) else {
            return wrong("functions.max_concurrent", "at least 1");
        };
        if pool > MOST_POOL {
            return wrong("functions.pool", "at most 16000");
        }
        if max_component_size.as_bytes() == 0 || max_component_size > ByteSize::from_mib(256) {
            return wrong("functions.max_component_size", "1B to 256MiB");
        }
        Ok(Self {
            fuel,
            memory,
            time,
            output,
            max_concurrent,
            max_waiting,
            pool,
            max_component_size,
            cache_size,
            walls: Walls { reach: outbound, local: local_places },
        })
    }
}

fn size_from_text<'de, D: Deserializer<'de>>(input: D) -> Result<ByteSize, D::Error> {
    String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let section =
            toml::from_str::<FunctionsSection>(text).map_err(|it| it.message().to_owned());
        let config =
            section.and_then(|it| FunctionsConfig::try_from(it).map_err(|it| it.to_string()));
        let got = config.map_or_else(|it| it, |it| format!("{} {:?}", it.memory, it.time));
        assert_eq!(got, expected);
    }

    #[test]
    fn nothing_written_is_the_default() {
        check("", "128 MiB 30s");
    }

    #[test]
    fn sizes_and_times_are_written_for_people() {
        check("memory = \"64MiB\"\ntime = \"500ms\"", "64 MiB 500ms");
    }

    #[test]
    fn wrong_values_name_their_key() {
        check("fuel = 0", "`functions.fuel` must be at least 1");
        check("memory = \"5GiB\"", "`functions.memory` must be 64KiB to 4GiB");
        check("time = \"0s\"", "`functions.time` must be 1ms to 24h");
        check("max_concurrent = 0", "`functions.max_concurrent` must be at least 1");
        check("pool = 20000", "`functions.pool` must be at most 16000");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let got = toml::from_str::<FunctionsSection>("memroy = \"1MiB\"");
        assert!(got.is_err_and(|it| it.message().starts_with("unknown field `memroy`")));
    }
}
