//! `[mesh]`: how much one node gives to the others of its swarm, as written and as checked.

use sedge_members::{BookLimits, MAX_MEMBERS};
use sedge_net::Rate;
use serde::Deserialize;

use crate::config::ConfigError;

/// `[mesh]`, as written in the node's config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshSection {
    /// Whether more than 1 MiB at once may travel through a relay: the inputs of tasks, components
    /// and artifacts. What is smaller always may.
    pub bulk_over_relay: bool,
    /// The most members of the swarm that this node knows, itself included; 2 to 1024.
    pub max_members: u32,
    /// The most connections that others may have with this node, on each transport; 1 to 65536.
    /// Those that it dials are not counted.
    pub max_connections: u32,
    /// The most streams that one member may have open on a connection; 8 to 256.
    pub max_streams: u32,
    /// How many adverts, rosters and questions about others one member may send in a second, for
    /// long; four times as many at once. 1 to 10000.
    pub gossip_per_second: u32,
    /// The most addresses that are kept of one member; 1 to 64.
    pub addresses_per_member: u32,
    /// The most addresses that are kept in all; 1 to 8192.
    pub max_addresses: u32,
}

impl Default for MeshSection {
    fn default() -> Self {
        Self {
            bulk_over_relay: false,
            max_members: 1024,
            max_connections: 256,
            max_streams: 256,
            gossip_per_second: 50,
            addresses_per_member: 16,
            max_addresses: 4096,
        }
    }
}

/// `[mesh]`, as checked.
#[derive(Debug, Clone, Copy)]
pub struct MeshConfig {
    pub(crate) bulk_over_relay: bool,
    pub(crate) max_members: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_streams: u32,
    pub(crate) gossip: Rate,
    pub(crate) book: BookLimits,
}

impl TryFrom<MeshSection> for MeshConfig {
    type Error = ConfigError;

    fn try_from(section: MeshSection) -> Result<Self, ConfigError> {
        let MeshSection {
            bulk_over_relay,
            max_members,
            max_connections,
            max_streams,
            gossip_per_second,
            addresses_per_member,
            max_addresses,
        } = section;
        let within = |key, value: u32, least: u32, most: u32| match (least..=most).contains(&value)
        {
            true => Ok(value as usize),
            false => Err(ConfigError::Value { key, must_be: format!("{least} to {most}") }),
        };
        let most = u32::try_from(MAX_MEMBERS).unwrap_or(u32::MAX);
        let per_second = f64::from(gossip_per_second);
        within("mesh.gossip_per_second", gossip_per_second, 1, 10_000)?;
        within("mesh.max_streams", max_streams, 8, 256)?;
        Ok(Self {
            bulk_over_relay,
            max_members: within("mesh.max_members", max_members, 2, most)?,
            max_connections: within("mesh.max_connections", max_connections, 1, 65_536)?,
            max_streams,
            gossip: Rate { per_second, burst: per_second * 4.0 },
            book: BookLimits {
                each: within("mesh.addresses_per_member", addresses_per_member, 1, 64)?,
                all: within("mesh.max_addresses", max_addresses, 1, 8192)?,
            },
        })
    }
}
