//! Who asks for a task, and where they want it to run.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use sedge_node::{Offer, Pass};

use crate::refusal::Refusal;

/// The header that names the one node to run on.
const ON: HeaderName = HeaderName::from_static("x-sedge-on");

/// What a door let somebody in with.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// The node's key: everything is allowed.
    Key,
    /// A token: what it says is allowed.
    Token(Arc<Pass>),
}

impl Caller {
    /// Leaves what the caller may know of.
    pub(crate) fn see(&self, offers: &mut Vec<Offer>) {
        if let Self::Token(pass) = self {
            offers.retain(|it| pass.names(it.descriptor.name.as_str()));
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Without a caller the door was not guarded: nobody comes in.
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A caller, and the node that they name.
#[derive(Debug)]
pub(crate) struct Asker {
    caller: Caller,
    on: Option<HeaderValue>,
}

impl Asker {
    /// Returns the node that the task is pinned to, if it is.
    pub(crate) fn on(&self) -> Result<Option<String>, Refusal> {
        match self.on.as_ref().map(HeaderValue::to_str) {
            None => Ok(None),
            Some(Ok(node)) => Ok(Some(node.to_owned())),
            Some(Err(_)) => {
                let text = "`x-sedge-on` is a node's name or id";
                Err(Refusal::param("x-sedge-on", "invalid_node", text))
            }
        }
    }

    /// Returns the token that the task is asked for with, if it is one.
    pub(crate) fn pass(&self) -> Option<Arc<Pass>> {
        match &self.caller {
            Caller::Key => None,
            Caller::Token(pass) => Some(Arc::clone(pass)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(Self { caller, on: parts.headers.get(ON).cloned() })
    }
}
