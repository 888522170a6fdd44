//! How an agent is set up.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};

/// What an agent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum AgentRole {
    /// Manages the swarm and distributes tasks.
    Coordinator,
    /// Executes tasks and learns patterns.
    #[default]
    Worker,
    /// Explores and gathers context.
    Scout,
    /// Knows one domain well.
    Specialist,
}

impl AgentRole {
    /// Returns the name in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Scout => "scout",
            Self::Specialist => "specialist",
        }
    }

    /// Returns how much an agent of this role should coordinate, unless it is told otherwise.
    pub const fn priority(self) -> u32 {
        match self {
            Self::Coordinator => 100,
            Self::Specialist => 20,
            Self::Worker => 10,
            Self::Scout => 0,
        }
    }
}

/// A text is not a role or transport.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is none of {known}")]
pub struct NameError {
    text: String,
    known: &'static str,
}

impl NameError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl FromStr for AgentRole {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let all = [Self::Coordinator, Self::Worker, Self::Scout, Self::Specialist];
        let known = "coordinator, worker, scout, specialist";
        let found = all.into_iter().find(|it| it.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| NameError { text: text.to_owned(), known })
    }
}

/// How agents reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Transport {
    /// WebSocket over TLS, between machines.
    #[default]
    WebSocket,
    /// Unix sockets and sealed memory, between processes of one user on one machine.
    SharedMemory,
    /// A page in a browser; such an agent is the other end, not this library.
    Wasm,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "websocket",
            Self::SharedMemory => "shared-memory",
            Self::Wasm => "wasm",
        })
    }
}

impl FromStr for Transport {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let known = "websocket, shared-memory, wasm";
        let found = [Self::WebSocket, Self::SharedMemory, Self::Wasm]
            .into_iter()
            .find(|it| it.to_string().eq_ignore_ascii_case(text));
        found.ok_or_else(|| NameError { text: text.to_owned(), known })
    }
}

/// How patterns are packed on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum CompressionLevel {
    /// Not at all.
    None,
    /// By LZ4.
    #[default]
    Fast,
}

/// How one agent is set up; made by [`Default`] and the `with_` methods.
#[derive(Debug, Clone, PartialEq)]
pub struct SwarmConfig {
    /// The agent's id; a random one is made when there is none.
    pub agent_id: Option<String>,
    /// What it is for.
    pub agent_role: AgentRole,
    /// How it reaches others.
    pub transport: Transport,
    /// Whom it joins at once, as in [`crate::agent::SwarmAgent::join_swarm`].
    pub coordinator_url: Option<String>,
    /// How often the sync loop shares what was learned.
    pub sync_interval: Duration,
    /// How patterns are packed.
    pub compression_level: CompressionLevel,
    /// The most peers in the peer list.
    pub max_peers: usize,
    /// Whether it learns from rewards and merges what others learned.
    pub enable_learning: bool,
    /// Whether it merges what others remember.
    pub enable_memory_sync: bool,
    /// What it offers.
    pub capabilities: Vec<String>,
    /// How much it should coordinate; by its role when there is none.
    pub priority: Option<u32>,
    /// Where it listens, with [`Transport::WebSocket`], such as `127.0.0.1:8080`.
    pub listen: std::net::SocketAddr,
    /// An HTTP proxy that every connection to another agent goes through (`CONNECT`), with
    /// [`Transport::WebSocket`].
    pub proxy: Option<std::net::SocketAddr>,
    /// The folder where processes meet, with [`Transport::SharedMemory`].
    pub folder: Option<PathBuf>,
    /// What the swarm's members share. Without one the agent talks to its own machine only, to
    /// every agent there that has none either.
    pub swarm_key: Option<[u8; 32]>,
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            agent_id: None,
            agent_role: AgentRole::default(),
            transport: Transport::default(),
            coordinator_url: None,
            sync_interval: Duration::from_millis(1000),
            compression_level: CompressionLevel::default(),
            max_peers: 100,
            enable_learning: true,
            enable_memory_sync: true,
            capabilities: Vec::new(),
            priority: None,
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            proxy: None,
            folder: None,
            swarm_key: None,
        }
    }
}

impl SwarmConfig {
    /// Sets the agent's id.
    #[must_use]
    pub fn with_agent_id(mut self, id: impl Into<String>) -> Self {
        self.agent_id = Some(id.into());
        self
    }

    /// Sets what the agent is for.
    #[must_use]
    pub const fn with_role(mut self, role: AgentRole) -> Self {
        self.agent_role = role;
        self
    }

    /// Sets how the agent reaches others.
    #[must_use]
    pub const fn with_transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets whom the agent joins at once.
    #[must_use]
    pub fn with_coordinator(mut self, url: impl Into<String>) -> Self {
        self.coordinator_url = Some(url.into());
        self
    }

    /// Sets the HTTP proxy that connections to other agents go through.
    #[must_use]
    pub const fn with_proxy(mut self, proxy: std::net::SocketAddr) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Sets what the swarm's members share.
    #[must_use]
    pub const fn with_swarm_key(mut self, key: [u8; 32]) -> Self {
        self.swarm_key = Some(key);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for role in ["coordinator", "worker", "scout", "specialist"] {
            assert_eq!(role.parse::<AgentRole>().unwrap().name(), role);
        }
        for transport in ["websocket", "shared-memory", "wasm"] {
            assert_eq!(transport.parse::<Transport>().unwrap().to_string(), transport);
        }
        let refused = "boss".parse::<AgentRole>().unwrap_err();
        let expected = "`boss` is none of coordinator, worker, scout, specialist";
        assert_eq!(refused.to_string(), expected);
    }
}
