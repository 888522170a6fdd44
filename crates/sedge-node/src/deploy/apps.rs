//! What applications have kept on this node, when somebody asks to forget it.

use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_functions::share_of;

use crate::node::{Node, internal};
use crate::view::AppForgotten;

impl Node {
    /// Forgets what an application has kept on this node: its keys and its databases.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] while a component of it is here, [`ErrorKind::Invalid`] for a name that none can have.
    pub async fn forget_app(&self, app: &str) -> Result<AppForgotten, Failure> {
        let offers = self.registry.offers();
        if offers.iter().any(|it| share_of(&it.descriptor).is_some_and(|it| it.0 == app)) {
            let text = format!("`{app}` is deployed on this node; remove it first");
            return Err(Failure::new(ErrorKind::Conflict, "app_deployed", text));
        }
        let done = self.store.forget_app(app).await;
        let done = done.map_err(|error| match error.kind() {
            ErrorKind::Invalid => Failure::new(ErrorKind::Invalid, "invalid_app", error),
            _ => internal(error),
        })?;
        tracing::info!(target: "sedge::events::app_forgotten", app, keys = done.keys, databases = done.databases);
        Ok(AppForgotten { keys: done.keys, databases: done.databases })
    }
}
