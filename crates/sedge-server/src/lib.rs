//! The doors of a node: the OpenAI shapes, the REST interface and functions over HTTP, edges over gRPC.
//!
//! A door turns a request into a task or a question to the [`Node`](sedge_node::Node), and the
//! answer into its own wire shape; it decides nothing. [`Server`] serves them all on loopback, and
//! over TLS to other machines if the owner's configuration says where. The one list of doors is in
//! `routes.rs`. [`attend`] is the other end of one of them: an edge of ours.
//!
//! Invariants: beyond loopback nothing but TLS is heard, and nothing unless the owner wrote where;
//! every door but `/health` asks for the node's
//! key and compares it in constant time; a page that a browser fetched from elsewhere is refused by
//! its `Host` and `Origin`; every body has a limit; a client that goes away cancels its task.
//!
//! ```no_run
//! # async fn start(node: std::sync::Arc<sedge_node::Node>) -> Result<(), sedge_server::BindError> {
//! let scope = sedge_base::TaskScope::new();
//! let api = std::net::SocketAddr::from(([127, 0, 0, 1], 7411));
//! let server = sedge_server::Server::bind(api, node, &scope).await?;
//! server.stop_asked().await;
//! # Ok(())
//! # }
//! ```

mod access;
mod anthropic;
mod asker;
mod entrance;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grpc;
mod health;
mod models;
mod ollama;
mod openai;
mod page;
mod peer;
mod refusal;
mod rest;
mod routes;
mod secure;
mod server;
mod wasi_http;

pub use grpc::{AttendError, Attending, attend};
pub use rest::{
    AskLine, BanAsk, ClaimAsk, ErrorBody, ErrorRecord, FetchLine, FoundAsk, InviteAsk, JoinAsk,
    KnockAsk, OPTIONS_HEADER, PairTokenAsk, RebalanceAsk, RecordAsk, ReleaseAsk, RolesAsk,
    ShareAsk, SpaceAsk, USAGE_HEADER, WatchLine,
};
pub use server::{BindError, Server};
