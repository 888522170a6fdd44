//! A no in this door's shape.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sedge_base::ErrorKind;
use sedge_capability::Failure;
use sedge_node::WayFailed;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// The body of every refusal of the REST door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorRecord,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// The stable name of this very failure.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// The next step, where there is one.
    #[serde(default)]
    pub hint: Option<String>,
    /// The ways to another node that were tried, when none led there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<WayFailed>,
}

/// A no of this door.
#[derive(Debug)]
pub(crate) struct Error {
    status: StatusCode,
    body: ErrorBody,
}

impl From<Error> for ErrorRecord {
    fn from(error: Error) -> Self {
        error.body.error
    }
}

/// Gives a refusal this door's shape.
pub(crate) fn refuse(refusal: Refusal) -> Response {
    Error::from(refusal).into_response()
}

impl Error {
    /// Adds the ways that were tried.
    pub(super) fn with_ways(mut self, ways: Vec<WayFailed>) -> Self {
        self.body.error.ways = ways;
        self
    }
}

/// Returns the next step for a person who meets a failure, by its stable code or its kind.
fn hint(failure: &Failure) -> Option<&'static str> {
    let by_code = match failure.code.as_ref() {
        "missing_api_key" | "invalid_api_key" => {
            Some("the key is in the file `api.key` of the node's home")
        }
        "needs_key" => Some("the key is in the file `api.key` of the node's home"),
        "bad_token" | "forged_token" | "token_revoked" | "token_ended" => {
            Some("ask who gave it to you for a new one; `sedge token show` shows what it says")
        }
        "unknown_node" | "node_not_found" => Some("`sedge nodes` lists the nodes"),
        "disk_full" => Some("make room on the disk that holds the node's home"),
        "unknown_receipt" => {
            Some("`sedge receipt list` lists those that this node signed, as executor or requester")
        }
        "unknown_artifact" => Some("`sedge artifact ls` lists those of this node"),
        "artifact_incomplete" => Some("the same command goes on where it stopped"),
        "artifact_too_large" => {
            Some("`largest` in `[artifacts]` of the configuration is the limit")
        }
        "artifact_no_room" => {
            Some("`sedge artifact rm` makes room, or `room` in `[artifacts]` of the configuration")
        }
        "no_quorum" => Some("`sedge quorum init NODE NODE` on the owner's node founds one"),
        "no_majority" => {
            Some("bring voters back; `sedge quorum status` shows who votes and who is there")
        }
        "quorum_exists" => Some("`sedge quorum add NODE` lets one more node vote"),
        "not_coordinator" => Some("without `--on` the node finds the coordinator by itself"),
        "coordinator_drains" => Some(
            "`sedge node drain` on the coordinator (`sedge quorum status`), or on that machine",
        ),
        "not_a_candidate" => Some("`sedge quorum role NODE coordinator` on the owner's node"),
        "is_voter" => Some("`sedge quorum remove NODE` first"),
        "claim_held" => Some("wait until it ends, or ask its holder to release it"),
        "unsure" => Some("`sedge quorum log` shows what was decided"),
        code if admission_hint(code).is_some() => admission_hint(code),
        "bulk_over_relay" => Some(
            "open a direct path (let UDP through to the mesh's port), or set `bulk_over_relay = true` \
             in `[mesh]` of this node's configuration",
        ),
        "unknown_plugin" => Some("`sedge plugin list` lists those of this node"),
        "invalid_plugin" | "plugin_changed" => {
            Some("`sedge plugin show NAME` shows how it is now, and what is wrong with it")
        }
        "unknown_session" => Some("`sedge session open` opens one, and prints its name"),
        "unknown_file" => Some("`sedge session list` names the files of a session"),
        "node_full" => Some(
            "make room there, or raise `max_functions` in `[node]`, or `max_connections` in `[mesh]`, of its configuration",
        ),
        "out_of_fuel" => Some("give it more with `--fuel`"),
        "out_of_memory" => Some("give it more with `--memory`"),
        _ => None,
    };
    // These say it all themselves, one line for each way.
    if failure.code == "no_way" {
        return None;
    }
    by_code.or(match failure.kind {
        ErrorKind::NotFound => Some("`sedge capabilities` lists what is offered, and where"),
        ErrorKind::Unavailable => Some("`sedge nodes` shows who can be reached"),
        _ => None,
    })
}

/// Returns the next step of somebody who was not let in, or who cannot decide about it.
fn admission_hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_token" | "wrong_answer" => {
            "compare the token with the one under this node's name in `[admission]` there"
        }
        "not_allowed" => {
            "add this node's name to `[admission]` there, or join with what it asks for: \
             `--token`, `--pair-token`, or a code from `sedge invite`"
        }
        "id_in_use" => {
            "start this node under a name that is free, in a new home: `sedge up --name NAME`; or \
             `sedge revoke` the other one there"
        }
        "approval_pending" => {
            "the request stays on the list there for an hour: once it is approved, the same command \
             joins at once"
        }
        "approval_rejected" => "the same command asks again; talk to the person there first",
        "token_not_taken" => {
            "correct the token, or join without it and wait for a person's approval"
        }
        "banned" => "wait for the end, or ask the person there for `sedge admission unban`",
        "used_pair_token" | "expired_pair_token" | "unknown_pair_token" => {
            "`sedge admission pair-token` there makes a new one"
        }
        "revoked" => "ask the person there for `sedge invite`",
        "codes_only" => "ask for a code: `sedge invite` there, `sedge join CODE` here",
        "owner_unproven" => "check the address, and the token on both sides; nothing was changed",
        "not_loopback" => "use another mode in `[admission]` there: `dev` is for one machine",
        "no_request" => "`sedge admission list` shows who waits",
        "several_requests" => "compare the key with what the other machine printed",
        "no_tofu" => "add `tofu` to `modes` in `[admission]` of the configuration",
        "mode_off" => "add `pair-token` to `modes` in `[admission]` of the configuration",
        "not_banned" => "`sedge admission list` shows who is",
        _ => return None,
    })
}

impl From<Refusal> for Error {
    fn from(Refusal { status, failure, .. }: Refusal) -> Self {
        let hint = hint(&failure).map(str::to_owned);
        let Failure { kind, code, message } = failure;
        let error = ErrorRecord { kind, code: code.into_owned(), message, hint, ways: Vec::new() };
        Self { status, body: ErrorBody { error } }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Refusal::from(failure).into()
    }
}

impl From<BytesRejection> for Error {
    fn from(rejection: BytesRejection) -> Self {
        Refusal::from(rejection).into()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
