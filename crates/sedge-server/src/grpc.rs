//! The door for edges: `nexus.v1.EdgeService` over gRPC, as `proto/nexus.proto` says.
//!
//! It is there only where nothing but TLS is heard. An edge shows its token in its first message;
//! who asks about edges shows the node's key as a bearer.
//!
//! The messages are written by hand with their tags: a third of what a generator would write, and
//! the build needs no compiler for them. A foreign client that is generated from the file checks
//! that both say the same.

mod attend;
mod codec;
mod connect;
mod lists;
mod messages;

pub use attend::{AttendError, Attending, attend};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::post;
use sedge_base::ErrorKind;
use tonic::{Code, Status};

use crate::access::Access;
use crate::refusal::Refusal;
use crate::routes::Door;
use crate::server::Shared;

/// The largest message, in bytes: what gRPC takes when nobody says otherwise.
const LARGEST: usize = 4 << 20;

/// `/nexus.v1.EdgeService`: edges, and who asks about them.
pub(crate) const DOOR: Door = Door {
    prefix: "/nexus.v1.EdgeService",
    routes: Router::new,
    token_routes: routes,
    refuse,
    access: Access::Open,
    tls_only: true,
};

fn routes() -> Router<Shared> {
    Router::new()
        .route("/Connect", post(connect::serve))
        .route("/GetEdgeStatus", post(lists::status))
        .route("/ListEdges", post(lists::list))
}

fn refuse(refusal: Refusal) -> Response {
    status(&refusal).into_http::<tonic::body::Body>().map(Body::new)
}

/// Gives a refusal the shape that gRPC has for it.
fn status(refusal: &Refusal) -> Status {
    let code = match refusal.failure.kind {
        _ if refusal.failure.code == "unknown_path" => Code::Unimplemented,
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::AlreadyExists,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Exhausted => Code::ResourceExhausted,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Failed => Code::Unknown,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    };
    Status::new(code, refusal.failure.message.clone())
}

/// Feeds a message to the readers of this door; returns whether somebody says something by it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    lists::feed(bytes);
    messages::feed(bytes)
}
