//! How two nodes prove their keys to each other before they multiplex.
//!
//! Four packets: the dialler names itself, whom it wants and what it wants to speak; the listener
//! proves its key; the dialler proves its own; the listener says whether it admits the dialler.
//! Each proof is an Ed25519 signature over both ids, both sides' fresh random bytes, the protocol,
//! the transport, the signer's part, and what binds it to this very carrier (such as the exporter
//! of a TLS connection, RFC 9266), so it is of no use on any other connection.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sedge_base::NodeId;
use sedge_trust::{Identity, Signature, random_bytes, verify};

use crate::conn::CloseReason;
use crate::packet::{Body, Inlet, Kind, Outlet, Packet, malformed};
use crate::transport::Protocol;

const CONTEXT: &[u8] = b"sedge net handshake 1\0";
const NODE: usize = 32;
const FRESH: usize = 32;
const SIGNATURE: usize = 64;
/// The longest name of a protocol that is read, in bytes.
const NAME: usize = 64;

/// What makes this carrier unlike every other.
#[derive(Debug, Clone)]
pub(crate) struct Carrier {
    /// The transport's name.
    pub(crate) scheme: &'static str,
    /// Bytes that both ends know and nobody else can have on another carrier; may be empty where
    /// the system names the peer.
    pub(crate) binding: Vec<u8>,
}

/// What the listener says at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Welcome,
    Refused(CloseReason),
    NotSpoken,
}

impl Verdict {
    fn write(self) -> Bytes {
        let (kind, reason) = match self {
            Self::Welcome => (1, 0),
            Self::Refused(reason) => (2, reason.code()),
            Self::NotSpoken => (3, 0),
        };
        let mut into = BytesMut::new();
        into.put_u8(kind);
        into.put_u32(reason);
        into.freeze()
    }

    fn read(mut bytes: &[u8]) -> io::Result<Self> {
        if bytes.len() != 5 {
            return Err(malformed("a verdict has another size"));
        }
        match (bytes.get_u8(), bytes.get_u32()) {
            (1, 0) => Ok(Self::Welcome),
            (2, code) => Ok(Self::Refused(CloseReason::from_code(code))),
            (3, 0) => Ok(Self::NotSpoken),
            _ => Err(malformed("a verdict is unknown")),
        }
    }
}

/// What the dialler says first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    dialler: NodeId,
    listener: NodeId,
    fresh: [u8; FRESH],
    protocol: Bytes,
}

impl Wish {
    fn write(&self) -> Bytes {
        let mut into = BytesMut::new();
        into.put_slice(self.dialler.as_bytes());
        into.put_slice(self.listener.as_bytes());
        into.put_slice(&self.fresh);
        into.put_slice(&self.protocol);
        into.freeze()
    }

    fn read(mut bytes: Bytes) -> io::Result<Self> {
        if bytes.len() < 2 * NODE + FRESH || bytes.len() > 2 * NODE + FRESH + NAME {
            return Err(malformed("a wish has another size"));
        }
        let dialler = NodeId::from_bytes(array(&mut bytes)?);
        let listener = NodeId::from_bytes(array(&mut bytes)?);
        Ok(Self { dialler, listener, fresh: array(&mut bytes)?, protocol: bytes })
    }

    /// Returns what a side signs.
    fn text(&self, carrier: &Carrier, signer: &[u8], answer: &[u8; FRESH]) -> Vec<u8> {
        let mut text = CONTEXT.to_vec();
        let sized = [signer, carrier.scheme.as_bytes(), &self.protocol, &carrier.binding];
        for part in sized {
            text.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
            text.put_slice(part);
        }
        text.put_slice(self.dialler.as_bytes());
        text.put_slice(self.listener.as_bytes());
        text.put_slice(&self.fresh);
        text.put_slice(answer);
        text
    }
}

fn array<const N: usize>(bytes: &mut Bytes) -> io::Result<[u8; N]> {
    let (some, _) = bytes.split_first_chunk().ok_or_else(|| malformed("a greeting is cut"))?;
    let some = *some;
    bytes.advance(N);
    Ok(some)
}

async fn say(outlet: &mut dyn Outlet, body: Bytes) -> io::Result<()> {
    outlet.send(Packet::new(Kind::Greeting, 0, body)).await?;
    outlet.flush().await
}

async fn hear(inlet: &mut dyn Inlet) -> io::Result<Bytes> {
    match inlet.next().await? {
        Some(Packet { kind: Kind::Greeting, body: Body::Bytes(bytes), .. }) => Ok(bytes),
        Some(_) => Err(malformed("a greeting is expected")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn fresh() -> io::Result<[u8; FRESH]> {
    random_bytes().map_err(io::Error::other)
}

fn denied(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, what)
}

const LISTENER: &[u8] = b"listener";
const DIALLER: &[u8] = b"dialler";

/// Proves our key to `listener` and checks its proof; returns what it says.
pub(crate) async fn dial(
    (outlet, inlet): (&mut dyn Outlet, &mut dyn Inlet),
    identity: &Identity,
    listener: NodeId,
    protocol: Protocol,
    carrier: &Carrier,
) -> io::Result<Verdict> {
    let protocol = Bytes::from_static(protocol.alpn().as_bytes());
    let wish = Wish { dialler: identity.node_id(), listener, fresh: fresh()?, protocol };
    say(outlet, wish.write()).await?;
    let mut answer = hear(inlet).await?;
    if answer.len() != FRESH + SIGNATURE {
        return Err(malformed("a proof has another size"));
    }
    let theirs = array(&mut answer)?;
    let proof = Signature::from_bytes(array(&mut answer)?);
    verify(&listener, &wish.text(carrier, LISTENER, &theirs), &proof)
        .map_err(|_| denied("it does not prove the key that was dialled"))?;
    let ours = identity.sign(&wish.text(carrier, DIALLER, &theirs));
    say(outlet, Bytes::copy_from_slice(ours.as_bytes())).await?;
    Verdict::read(&hear(inlet).await?)
}

/// A dialler that has proven its key and waits for the verdict.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) node: NodeId,
    /// What it wants to speak; `None` when this release does not know it.
    pub(crate) protocol: Option<Protocol>,
}

/// Proves our key to whoever dialled, and checks its proof.
pub(crate) async fn listen(
    (outlet, inlet): (&mut dyn Outlet, &mut dyn Inlet),
    identity: &Identity,
    carrier: &Carrier,
) -> io::Result<Guest> {
    let wish = Wish::read(hear(inlet).await?)?;
    if wish.listener != identity.node_id() {
        return Err(denied("it wants another node"));
    }
    let ours = fresh()?;
    let proof = identity.sign(&wish.text(carrier, LISTENER, &ours));
    let mut answer = BytesMut::from(ours.as_slice());
    answer.put_slice(proof.as_bytes());
    say(outlet, answer.freeze()).await?;
    let mut proof = hear(inlet).await?;
    if proof.len() != SIGNATURE {
        return Err(malformed("a proof has another size"));
    }
    let proof = Signature::from_bytes(array(&mut proof)?);
    verify(&wish.dialler, &wish.text(carrier, DIALLER, &ours), &proof)
        .map_err(|_| denied("it does not prove its key"))?;
    Ok(Guest { node: wish.dialler, protocol: Protocol::from_alpn(&wish.protocol) })
}

/// Tells the dialler whether it is admitted.
pub(crate) async fn tell(outlet: &mut dyn Outlet, verdict: Verdict) -> io::Result<()> {
    say(outlet, verdict.write()).await
}

/// Feeds what a dialler says first, or a verdict, to their readers; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let wish = Wish::read(Bytes::copy_from_slice(bytes));
    let verdict = Verdict::read(bytes);
    verdict.is_ok_and(|it| it.write() == bytes) || wish.is_ok_and(|it| it.write() == bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn verdicts_survive_the_wire() {
        for verdict in [
            Verdict::Welcome,
            Verdict::NotSpoken,
            Verdict::Refused(CloseReason::NotAdmitted),
            Verdict::Refused(CloseReason::Full),
        ] {
            assert_eq!(Verdict::read(&verdict.write()).unwrap(), verdict);
        }
    }

    #[test]
    fn what_is_signed_changes_with_every_part() {
        let carrier = |scheme, binding: &[u8]| Carrier { scheme, binding: binding.to_vec() };
        let wish = Wish {
            dialler: NodeId::from_bytes([1; 32]),
            listener: NodeId::from_bytes([2; 32]),
            fresh: [3; 32],
            protocol: Bytes::from_static(b"sedge/mesh/1"),
        };
        let text = wish.text(&carrier("local", b"x"), DIALLER, &[4; 32]);
        let others = [
            wish.text(&carrier("websocket", b"x"), DIALLER, &[4; 32]),
            wish.text(&carrier("local", b"y"), DIALLER, &[4; 32]),
            wish.text(&carrier("local", b"x"), LISTENER, &[4; 32]),
            wish.text(&carrier("local", b"x"), DIALLER, &[5; 32]),
            Wish { fresh: [9; 32], ..wish.clone() }.text(
                &carrier("local", b"x"),
                DIALLER,
                &[4; 32],
            ),
        ];
        assert!(others.iter().all(|it| *it != text));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            drop(Verdict::read(&bytes));
            if let Ok(wish) = Wish::read(bytes.clone()) {
                prop_assert_eq!(wish.write(), bytes);
            }
        }
    }
}
