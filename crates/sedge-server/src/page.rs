//! The door for pages in browsers: JSON messages over a WebSocket, each signed by the page's own key.
//!
//! A browser lets a page neither pin a certificate nor set a header, so both sides prove themselves
//! inside: the node gives a nonce, the page answers with a token, a nonce and a signature, and the
//! node signs both. From then on every message of the page carries its number and a signature, which
//! is checked before anybody else hears of it. The other pages at this door get it as it was signed
//! and check it again. What is signed is RFC 8785 JSON; `sdks/browser/sedge.js` is the other side.

mod wire;

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::any;
use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_trust::{Nonce, random_bytes, verify};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use self::wire::{Down, Join, Joined, Said, Up};
use crate::access::{self, Access};
use crate::asker::Caller;
use crate::refusal::Refusal;
use crate::rest;
use crate::routes::Door;
use crate::server::Shared;

/// The largest message, in bytes.
const LARGEST: usize = 64 << 10;

/// How long a page may take to join, and to read a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages that wait for a slow page; it is let go when it falls behind further.
const WAITING: usize = 64;

/// The right that a token must name for its holder to join as a page.
const RIGHT: &str = "door:page";

/// `/ws`: pages.
pub(crate) const DOOR: Door = Door {
    prefix: "/ws",
    routes: Router::new,
    token_routes: || Router::new().route("/", any(upgrade)),
    refuse: rest::refuse,
    access: Access::Open,
    tls_only: false,
};

/// What the pages of one node share: every message that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Room(broadcast::Sender<Said>);

impl Default for Room {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

async fn upgrade(
    State(shared): State<Shared>,
    socket: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(socket) = socket else {
        return rest::refuse(Refusal::of_status(StatusCode::BAD_REQUEST));
    };
    let socket = socket.max_message_size(LARGEST).max_frame_size(LARGEST);
    socket.on_upgrade(move |mut socket| async move {
        let cancel = shared.scope.cancel();
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            ended = talk(&shared, &mut socket) => ended,
        };
        let Err(failure) = ended else { return };
        // 1008, policy violation: who comes again in the same way fares no better.
        let reason = failure.message.chars().take(100).collect::<String>();
        let frame = CloseFrame { code: 1008, reason: reason.into() };
        drop(timeout(PATIENCE, socket.send(Message::Close(Some(frame)))).await);
    })
}

/// Speaks with one page until it leaves.
async fn talk(shared: &Shared, socket: &mut WebSocket) -> Result<(), Failure> {
    let node = shared.node.id();
    let session = nonce()?;
    tell(socket, &Down::Hello { version: wire::VERSION, node, nonce: session }).await?;
    let first = timeout(PATIENCE, hear(socket)).await;
    let first = first.map_err(|_| wrong("no page joined"))??;
    let Some(Up::Join(join)) = first else { return Err(wrong("a page joins first")) };
    let page = admit(shared, &join, session).await?;
    let joined = Joined { node, session, page, page_nonce: join.nonce };
    let signature = shared.node.identity().sign(&wire::joined(&joined)?);
    tell(socket, &Down::Joined { page, signature }).await?;

    let mut others = shared.room.0.subscribe();
    let mut last = 0;
    loop {
        tokio::select! {
            up = hear(socket) => {
                let message = match up? {
                    None => return Ok(()),
                    Some(Up::Join(_)) => return Err(wrong("this page has joined already")),
                    Some(Up::Message(message)) => message,
                };
                let said = Said { from: page, session, message };
                if said.message.seq <= last {
                    return Err(wrong("a message's number is higher than the one before"));
                }
                let text = wire::message(node, &said)?;
                verify(&page, &text, &said.message.signature).map_err(|_| forged())?;
                last = said.message.seq;
                tell(socket, &Down::Verified { seq: last }).await?;
                // Without other pages nobody hears it.
                drop(shared.room.0.send(said));
            }
            said = others.recv() => match said {
                Ok(said) if said.session == session => {}
                Ok(said) => tell(socket, &Down::Message(&said)).await?,
                Err(RecvError::Lagged(_)) => return Err(wrong("the page reads too slowly")),
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}

/// Finds out whether a page may join, and by which key it is known.
async fn admit(shared: &Shared, join: &Join, session: Nonce) -> Result<NodeId, Failure> {
    let caller = access::bearer_of(&join.token, shared).map_err(|it| it.failure)?;
    let text = wire::join(shared.node.id(), session, join)?;
    verify(&join.page, &text, &join.signature).map_err(|_| forged())?;
    if let Caller::Token(pass) = caller {
        shared.node.admit(&pass, RIGHT).await?;
    }
    Ok(join.page)
}

/// Waits for the next message of the page; `None` when it left.
async fn hear(socket: &mut WebSocket) -> Result<Option<Up>, Failure> {
    loop {
        match socket.recv().await {
            None | Some(Ok(Message::Close(_)) | Err(_)) => return Ok(None),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(wrong("messages are text")),
            Some(Ok(Message::Text(text))) => {
                let read = wire::read(text.as_str());
                return read.map(Some).ok_or_else(|| wrong("the message is not understood"));
            }
        }
    }
}

async fn tell(socket: &mut WebSocket, down: &Down<'_>) -> Result<(), Failure> {
    let text = wire::write(down)?;
    let sent = timeout(PATIENCE, socket.send(Message::Text(text.into()))).await;
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(wrong("the page reads nothing")),
    }
}

fn nonce() -> Result<Nonce, Failure> {
    let bytes = random_bytes();
    let bytes = bytes.map_err(|it| Failure::new(ErrorKind::Internal, "no_random", it))?;
    Ok(Nonce::from_bytes(bytes))
}

fn wrong(text: &str) -> Failure {
    Failure::new(ErrorKind::Invalid, "bad_message", text)
}

fn forged() -> Failure {
    let text = "the signature is not by the page's key over this message";
    Failure::new(ErrorKind::Unauthenticated, "forged_message", text)
}

/// Feeds what a page says to its reader; returns whether it was understood.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    wire::feed(bytes)
}
