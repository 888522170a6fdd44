//! Who asks about edges: `GetEdgeStatus` and `ListEdges`.

use std::future::{Ready, ready};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use sedge_edges::Edges;
use tonic::Status;
use tonic::server::{Grpc, UnaryService};

use super::codec::Codec;
use super::messages::{
    EdgeStatus, GetEdgeStatusRequest, GetEdgeStatusResponse, ListEdgesRequest, ListEdgesResponse,
};
use super::{LARGEST, refuse};
use crate::access;
use crate::asker::Caller;
use crate::refusal::Refusal;
use crate::server::Shared;

/// How many edges are on a page when nobody says otherwise.
const USUAL_PAGE: usize = 100;
/// How many are at most.
const LARGEST_PAGE: usize = 1000;

/// `GetEdgeStatus`: an edge that nobody knows is disconnected.
pub(super) async fn status(shared: State<Shared>, request: Request) -> Response {
    answer(shared, request, |edges, GetEdgeStatusRequest { edge_id }| {
        let known = edge_id.parse().ok().and_then(|id| edges.get(&id));
        let status = known.map_or_else(
            || EdgeStatus {
                edge_id,
                connection_status: EdgeStatus::DISCONNECTED,
                ..EdgeStatus::default()
            },
            Into::into,
        );
        Ok(GetEdgeStatusResponse { status: Some(status) })
    })
    .await
}

/// `ListEdges`: a page in the order of ids; its token is the next offset, in base64.
pub(super) async fn list(shared: State<Shared>, request: Request) -> Response {
    answer(shared, request, page).await
}

fn page(edges: &Edges, asked: ListEdgesRequest) -> Result<ListEdgesResponse, Status> {
    let size = match usize::try_from(asked.page_size) {
        Ok(0) | Err(_) => USUAL_PAGE,
        Ok(size) => size.min(LARGEST_PAGE),
    };
    let offset = offset(&asked.page_token)
        .ok_or_else(|| Status::invalid_argument("this page token is none of ours"))?;
    let (page, total) = edges.list(offset, size);
    let next = offset.saturating_add(page.len());
    let next_page_token = if next < total { token(next) } else { String::new() };
    Ok(ListEdgesResponse {
        edges: page.into_iter().map(Into::into).collect(),
        next_page_token,
        total_count: i32::try_from(total).unwrap_or(i32::MAX),
    })
}

fn token(offset: usize) -> String {
    STANDARD.encode(offset.to_string())
}

fn offset(token: &str) -> Option<usize> {
    if token.is_empty() {
        return Some(0);
    }
    String::from_utf8(STANDARD.decode(token).ok()?).ok()?.parse().ok()
}

/// Answers one question of who has the node's key.
async fn answer<In, Out>(
    State(shared): State<Shared>,
    request: Request,
    answer: fn(&Edges, In) -> Result<Out, Status>,
) -> Response
where
    In: Message + Default + 'static,
    Out: Message + 'static,
{
    match access::caller(request.headers(), &shared) {
        Ok(Caller::Key) => {}
        Ok(Caller::Token(_)) => return refuse(Refusal::needs_key()),
        Err(refusal) => return refuse(refusal),
    }
    let question = Question { shared, answer };
    let mut grpc = Grpc::new(Codec::<Out, In>::default()).max_decoding_message_size(LARGEST);
    grpc.unary(question, request).await.map(Body::new)
}

/// What gRPC calls with the decoded question.
struct Question<In, Out> {
    shared: Shared,
    answer: fn(&Edges, In) -> Result<Out, Status>,
}

impl<In, Out> UnaryService<In> for Question<In, Out> {
    type Response = Out;
    type Future = Ready<Result<tonic::Response<Out>, Status>>;

    fn call(&mut self, request: tonic::Request<In>) -> Self::Future {
        let answered = (self.answer)(self.shared.node.edges(), request.into_inner());
        ready(answered.map(tonic::Response::new))
    }
}

/// Feeds a question to its reader.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(bytes: &[u8]) {
    if let Ok(asked) = ListEdgesRequest::decode(bytes) {
        offset(&asked.page_token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_is_the_offset_in_base64() {
        assert_eq!(token(100), "MTAw");
        assert_eq!(offset("MTAw"), Some(100));
        assert_eq!(offset(""), Some(0));
        for bad in ["100", "LTE=", "/w==", "*"] {
            assert_eq!(offset(bad), None, "{bad}");
        }
    }
}
