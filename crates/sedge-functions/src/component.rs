//! From a core module, which most compilers write, to a component, which is what is deployed.
//!
//! The encoder reads a stranger's bytes, so it is a guest as any other: `functions/component`, in a fresh instance
//! under limits. What it makes of the same module is the same on every machine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{ByteSize, NodeId, TaskId, Timestamp};
use sedge_capability::{Budgets, Capability, Failure, Media, Name, Task};
use tokio::sync::OnceCell;

use crate::deploy::DeployError;
use crate::limits::Limits;
use crate::{Deployment, Function, Runtime};

/// The encoder; see `functions/build.sh`.
const ENCODER: &[u8] = include_bytes!("../../../functions/component.wasm");
/// The time of one module.
const TIME: Duration = Duration::from_secs(30);
/// How a core module begins.
const CORE: &[u8] = b"\0asm\x01\0\0\0";

/// The encoder, compiled when it is first needed.
pub(crate) type Encoder = OnceCell<Arc<Function>>;

impl Runtime {
    /// Returns a component made of a core module; whatever else the bytes are, they come back as they are.
    ///
    /// A module says by a section for which world it is, as compilers with bindings leave it there, or
    /// exports `process`, `cabi_realloc` and `memory` as `wit/function.wit` asks. The first one on a machine takes
    /// seconds, because the encoder is compiled.
    ///
    /// # Errors
    ///
    /// [`DeployError::TooLarge`], and [`DeployError::NotMade`] with what is missing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future makes nothing.
    pub async fn component_of(&self, wasm: Bytes) -> Result<Bytes, DeployError> {
        if !wasm.starts_with(CORE) {
            return Ok(wasm);
        }
        let (got, limit) = (ByteSize::from_bytes(wasm.len() as u64), self.most());
        if got > limit {
            return Err(DeployError::TooLarge { got, limit });
        }
        let broken = |it: Failure| DeployError::NotMade { reason: it.message };
        let encoder = self.encoder().get_or_try_init(|| self.encoder_function()).await?;
        let not_made = |it: &dyn std::error::Error| DeployError::NotMade { reason: it.to_string() };
        let task = Task {
            id: "component".parse::<TaskId>().map_err(|it| not_made(&it))?,
            capability: encoder.descriptor().name.clone(),
            input: wasm,
            media: Media::Plain,
            budgets: Budgets::default(),
            deadline: Timestamp::from_millis(u64::MAX),
            priority: Task::USUAL_PRIORITY,
            requester: NodeId::from_bytes([0; 32]),
        };
        let (component, end) = encoder.run(task).await.map_err(broken)?.collect().await;
        match end.failure {
            None => Ok(component.into()),
            Some(failure) => Err(broken(failure)),
        }
    }

    async fn encoder_function(&self) -> Result<Arc<Function>, DeployError> {
        let name = "component/encoder".parse::<Name>();
        let name = name.map_err(|it| DeployError::NotMade { reason: it.to_string() })?;
        // What is made is a little larger than the module.
        let output = ByteSize::from_bytes(self.most().as_bytes().saturating_add(1 << 20));
        let limits = Limits { fuel: u64::MAX, time: TIME, output, ..self.limits() };
        self.deploy_under(Deployment::new(name, Bytes::from_static(ENCODER)), limits).await
    }
}
