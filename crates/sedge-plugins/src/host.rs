//! What runs entry points: sandboxes of somebody else.

use std::fmt;

use async_trait::async_trait;
use sedge_capability::{Failure, Handle};

use crate::folder::Entry;

/// An entry point that can be called.
pub struct Ready {
    /// What a component imports, such as `wasi:clocks/wall-clock@0.2.0`.
    pub imports: Vec<String>,
    /// What runs it: JSON goes in and comes out.
    pub handle: Handle,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("imports", &self.imports).finish_non_exhaustive()
    }
}

/// Sandboxes that entry points run in. An implementation runs nothing outside of one: what it cannot
/// contain it refuses.
#[async_trait]
pub trait Host: Send + Sync + fmt::Debug + 'static {
    /// Makes an entry point ready to be called, without calling it. It keeps to the budgets of each task.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when it is damaged, or no sandbox here takes it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future makes nothing ready.
    async fn ready(&self, name: &str, entry: &Entry) -> Result<Ready, Failure>;
}
