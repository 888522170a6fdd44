//! What a node takes from the world around it: the machine's own, or a simulation's.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sedge_base::{Clock, TaskScope};
use sedge_capability::Handle;
use sedge_functions::{DeployError, Deployment, Runtime};
use sedge_members::Gauges;
use sedge_store::Disk;

use crate::mesh::Network;

/// What a node takes from the world around it; whatever is not given is the machine's own.
///
/// Everything that decides *when* or *in which order* something happens comes from here, so that a
/// simulation can make it depend on a seed alone. What only names things (keys of tokens, ids of
/// tasks, codes) is still the operating system's chance.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The network to be on.
    pub network: Option<Arc<dyn Network>>,
    /// Where dates come from.
    pub clock: Option<Clock>,
    /// Where background work belongs; each node needs one of its own.
    pub scope: Option<TaskScope>,
    /// Where the store does its work.
    pub disk: Disk,
    /// What the node says of its machine.
    pub gauges: Option<Gauges>,
    /// What makes functions of components.
    pub engine: Option<Arc<dyn Engine>>,
}

/// What makes a function of a component: the Wasm engine, or a simulation's double of it.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug + 'static {
    /// Makes a function of a component, or says what is wrong with it.
    ///
    /// # Errors
    ///
    /// See [`DeployError`]; what was deployed before is untouched.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives no function.
    async fn deploy(&self, deployment: Deployment) -> Result<Handle, DeployError>;
}

#[async_trait]
impl Engine for Runtime {
    async fn deploy(&self, deployment: Deployment) -> Result<Handle, DeployError> {
        Ok(Self::deploy(self, deployment).await?)
    }
}
