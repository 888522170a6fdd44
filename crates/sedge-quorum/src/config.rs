//! `[quorum]`: who decides, and how fast a lost coordinator is replaced.

use std::time::Duration;

use sedge_base::ConfigError;
use serde::Deserialize;

use crate::message::MAX_VOTERS;

/// `[quorum]`, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuorumSection {
    /// The nodes that decide, by name or id, this one included; read on the node of the swarm's
    /// owner, and only while there is no quorum. None: `sedge quorum init` names them.
    pub voters: Vec<String>,
    /// How often the coordinator says that it is there.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long a voter hears nothing before it stands for election, at least; twice as long at most.
    #[serde(with = "humantime_serde")]
    pub election: Duration,
}

impl Default for QuorumSection {
    fn default() -> Self {
        Self {
            voters: Vec::new(),
            heartbeat: Duration::from_millis(150),
            election: Duration::from_millis(500),
        }
    }
}

/// `[quorum]`, as checked.
#[derive(Debug, Clone)]
pub struct QuorumConfig {
    /// The nodes that decide, by name or id; none when they are named by hand.
    pub voters: Vec<String>,
    /// How often the coordinator says that it is there.
    pub heartbeat: Duration,
    /// How long a voter hears nothing before it stands for election, at least.
    pub election: Duration,
    /// How long it does at most: the engine's dice pick a time between both, and never the later one.
    /// Where nothing may be left to these dice, the times of all voters differ.
    pub election_most: Duration,
}

impl TryFrom<QuorumSection> for QuorumConfig {
    type Error = ConfigError;

    fn try_from(section: QuorumSection) -> Result<Self, ConfigError> {
        let QuorumSection { voters, heartbeat, election } = section;
        if voters.len() > MAX_VOTERS {
            return Err(ConfigError { key: "quorum.voters", must_be: "at most 9 nodes" });
        }
        if !(Duration::from_millis(20)..=Duration::from_secs(10)).contains(&heartbeat) {
            return Err(ConfigError { key: "quorum.heartbeat", must_be: "20ms to 10s" });
        }
        if election < heartbeat * 3 || election > Duration::from_secs(60) {
            let must_be = "at least three heartbeats, and at most 60s";
            return Err(ConfigError { key: "quorum.election", must_be });
        }
        Ok(Self { voters, heartbeat, election, election_most: election * 2 })
    }
}

impl QuorumConfig {
    /// Returns how long a sign of life counts: nobody else is elected before.
    pub(crate) fn lease(&self) -> Duration {
        self.election * 2
    }

    /// Returns the same for the engine.
    pub(crate) fn engine(&self) -> openraft::Config {
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "sedge".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election),
            election_timeout_max: millis(self.election_most),
            install_snapshot_timeout: 5_000,
            max_payload_entries: crate::message::MAX_ENTRIES as u64,
            replication_lag_threshold: 512,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(256),
            // Whoever may lead is told so once it runs.
            enable_elect: false,
            snapshot_max_chunk_size: 64 << 10,
            max_in_snapshot_log_to_keep: 64,
            ..openraft::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut QuorumSection), expected: Expect) {
        let mut section = QuorumSection::default();
        change(&mut section);
        let got = QuorumConfig::try_from(section);
        expected.assert_eq(&got.map_or_else(|it| it.to_string(), |it| format!("{it:?}")));
    }

    #[test]
    fn what_is_written_and_what_is_refused() {
        check(
            |_| {},
            expect![
                "QuorumConfig { voters: [], heartbeat: 150ms, election: 500ms, election_most: 1s }"
            ],
        );
        check(
            |it| it.heartbeat = Duration::ZERO,
            expect!["`quorum.heartbeat` must be 20ms to 10s"],
        );
        check(
            |it| it.election = Duration::from_millis(300),
            expect!["`quorum.election` must be at least three heartbeats, and at most 60s"],
        );
        check(
            |it| it.voters = vec!["one".to_owned(); 10],
            expect!["`quorum.voters` must be at most 9 nodes"],
        );
    }

    #[test]
    fn the_engine_takes_it() {
        let config = QuorumConfig::try_from(QuorumSection::default()).unwrap();
        assert!(config.engine().validate().is_ok());
    }
}
