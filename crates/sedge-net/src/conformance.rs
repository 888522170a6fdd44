//! The check that every [`Transport`] passes in its own tests.

use std::time::Duration;

use sedge_base::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::conn::{CloseReason, Conn, ConnError, Side};
use crate::stream::Stream;
use crate::transport::{DialError, PeerAddr, Protocol, Transport};

/// How long any single step may take.
const STEP: Duration = Duration::from_secs(10);
/// The size of the large payload, in bytes: larger than every window on the way.
const LARGE: usize = 8 << 20;

/// The ends that the check needs; they speak [`Protocol::Mesh`] only.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// Admits `b`.
    pub a: &'a dyn Transport,
    /// Admits `a`.
    pub b: &'a dyn Transport,
    /// Admits everybody; neither `a` nor `b` admits it.
    pub stranger: &'a dyn Transport,
    /// A member for `a` that is not there.
    pub absent: &'a PeerAddr,
}

/// A rule of the contract that a transport broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transport `{scheme}` breaks the contract: {rule}; {found}")]
pub struct Broken {
    /// Which transport.
    pub scheme: &'static str,
    /// Which rule, in words.
    pub rule: &'static str,
    /// What was found instead.
    pub found: String,
}

/// Runs the contract's rules against two ends of a network.
///
/// # Errors
///
/// The first [`Broken`] rule.
pub async fn check(ends: Ends<'_>) -> Result<(), Broken> {
    let rules = Rules { ends, scheme: ends.a.place().scheme };
    let (a, b) = rules.connect().await?;
    rules.facts(&a, &b)?;
    rules.streams(&a, &b).await?;
    rules.streams(&b, &a).await?;
    rules.large(&a, &b).await?;
    rules.dropped(&a, &b).await?;
    rules.counted(&a, &b).await?;
    rules.closed(a, b).await?;
    rules.admission().await?;
    rules.absent().await
}

struct Rules<'a> {
    ends: Ends<'a>,
    scheme: &'static str,
}

type Outcome<T = ()> = Result<T, Broken>;

impl Rules<'_> {
    fn broken<T>(&self, rule: &'static str, found: impl std::fmt::Debug) -> Outcome<T> {
        Err(Broken { scheme: self.scheme, rule, found: format!("found {found:?}") })
    }

    fn must(&self, rule: &'static str, found: bool) -> Outcome {
        if found { Ok(()) } else { self.broken(rule, found) }
    }

    /// Waits for one step of the check and takes its result apart.
    async fn step<T, E: std::fmt::Debug>(
        &self,
        rule: &'static str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Outcome<T> {
        match tokio::time::timeout(STEP, step).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(err)) => self.broken(rule, err),
            Err(_) => self.broken(rule, "nothing in time"),
        }
    }

    async fn connect(&self) -> Outcome<(Conn, Conn)> {
        let Ends { a, b, .. } = self.ends;
        let to = b.place().peer_addr();
        let dial = self.step("a member can dial", a.dial(&to, Protocol::Mesh, STEP));
        let accept = self.step("a member is accepted", async { b.accept().await.ok_or("closed") });
        tokio::try_join!(dial, accept)
    }

    fn facts(&self, a: &Conn, b: &Conn) -> Outcome {
        let (at_a, at_b) = (a.facts(), b.facts());
        let Ends { a, b, .. } = self.ends;
        self.must("the peer is the one that was dialled", at_a.peer == b.place().node)?;
        self.must("the peer is the one that dialled", at_b.peer == a.place().node)?;
        self.must("both know the protocol", at_a.protocol == at_b.protocol)?;
        self.must("the dialler knows that it dialled", at_a.dialled_by == Side::Us)?;
        self.must("the other knows that the peer dialled", at_b.dialled_by == Side::Peer)
    }

    /// Opens a stream from one end and accepts it at the other, after one byte was sent.
    async fn stream(&self, from: &Conn, to: &Conn) -> Outcome<(Stream, Stream)> {
        let mut near = self.step("a stream can be opened", from.open(STEP)).await?;
        self.step("a byte can be sent", near.send.write_all(b"!")).await?;
        let mut far = self.step("a stream can be accepted", to.accept()).await?;
        let byte = self.step("the byte arrives", far.recv.read_u8()).await?;
        self.must("the byte is the one that was sent", byte == b'!')?;
        Ok((near, far))
    }

    async fn streams(&self, from: &Conn, to: &Conn) -> Outcome {
        let (mut one, mut one_far) = self.stream(from, to).await?;
        let (two, two_far) = self.stream(from, to).await?;
        self.step("bytes go there", one.send.write_all(b"ping")).await?;
        self.step("the end can be told", one.send.shutdown()).await?;
        let mut got = Vec::new();
        self.step("the end arrives", one_far.recv.read_to_end(&mut got)).await?;
        self.must("bytes arrive as sent", got == b"ping")?;
        self.step("bytes go back", one_far.send.write_all(b"pong")).await?;
        self.step("the answer ends", one_far.send.shutdown()).await?;
        got.clear();
        self.step("the answer's end arrives", one.recv.read_to_end(&mut got)).await?;
        self.must("answers arrive as sent", got == b"pong")?;
        drop((two, two_far));
        Ok(())
    }

    async fn large(&self, from: &Conn, to: &Conn) -> Outcome {
        let (mut near, mut far) = self.stream(from, to).await?;
        let payload: Vec<u8> = (0..LARGE).map(|at| (at / 7 % 251) as u8).collect();
        let send = self.step("a large payload can be sent", async {
            near.send.write_all(&payload).await?;
            near.send.shutdown().await
        });
        let mut got = Vec::new();
        let recv = self.step("a large payload arrives", far.recv.read_to_end(&mut got));
        tokio::try_join!(send, recv)?;
        self.must("a large payload arrives as sent", got == payload)
    }

    async fn dropped(&self, a: &Conn, b: &Conn) -> Outcome {
        let (Stream { send, recv }, mut far) = self.stream(a, b).await?;
        drop(send);
        let read = self.step("a dropped sender is no clean end", async {
            Ok::<_, ()>(far.recv.read_to_end(&mut Vec::new()).await)
        });
        match read.await? {
            Err(err) if err.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => return self.broken("a dropped sender is read as a reset", other),
        }
        let stopped = far.send.stopped();
        drop(recv);
        self.step("a dropped receiver is noticed by the sender", async {
            stopped.await;
            Ok::<_, ()>(())
        })
        .await?;
        // The connection itself lives on.
        drop(far);
        self.streams(a, b).await
    }

    async fn counted(&self, a: &Conn, b: &Conn) -> Outcome {
        let before = (a.streams(), b.streams());
        let (near, far) = self.stream(a, b).await?;
        let open = (a.streams(), b.streams());
        self.must("both ends count an open stream", open == (before.0 + 1, before.1 + 1))?;
        let Stream { send, recv } = near;
        drop(send);
        self.must("half a stream is counted", a.streams() == before.0 + 1)?;
        drop((recv, far));
        self.must("a dropped stream is not counted", (a.streams(), b.streams()) == before)
    }

    async fn closed(&self, a: Conn, b: Conn) -> Outcome {
        let (near, mut far) = self.stream(&a, &b).await?;
        a.close(CloseReason::Duplicate);
        let why = self.step("closing is noticed", async { Ok::<_, ()>(b.closed().await) }).await?;
        match why {
            ConnError::Closed { reason: CloseReason::Duplicate } => {}
            other => return self.broken("the reason arrives", other),
        }
        match self.step("closing is known here", async { Ok::<_, ()>(a.closed().await) }).await? {
            ConnError::ClosedHere => {}
            other => return self.broken("who closed knows that it did", other),
        }
        let read = async { Ok::<_, ()>(far.recv.read_u8().await.is_err()) };
        self.must("streams end with the connection", self.step("a read ends", read).await?)?;
        let opened = async { Ok::<_, ()>(b.open(STEP).await.is_err()) };
        self.must("no stream after the end", self.step("an open ends", opened).await?)?;
        let accepted = async { Ok::<_, ()>(b.accept().await.is_err()) };
        self.must("nothing to accept after the end", self.step("an accept ends", accepted).await?)?;
        drop(near);
        Ok(())
    }

    async fn admission(&self) -> Outcome {
        let Ends { a, b, stranger, .. } = self.ends;
        let to = b.place().peer_addr();
        let dial = async { Ok::<_, ()>(stranger.dial(&to, Protocol::Mesh, STEP).await) };
        match self.step("a stranger's dial ends", dial).await? {
            Err(DialError::Refused { reason: CloseReason::NotAdmitted, .. }) => {}
            other => return self.broken("a stranger is refused and told so", other),
        }
        let to = stranger.place().peer_addr();
        let dial = async { Ok::<_, ()>(a.dial(&to, Protocol::Mesh, STEP).await) };
        match self.step("a dial to a stranger ends", dial).await? {
            Err(DialError::NotAdmitted { .. }) => {}
            other => return self.broken("a stranger is not dialled", other),
        }
        let to = b.place().peer_addr();
        let dial = async { Ok::<_, ()>(a.dial(&to, Protocol::Pair, STEP).await) };
        match self.step("a dial for another protocol ends", dial).await? {
            Err(DialError::NotSpoken { protocol: Protocol::Pair, .. }) => {}
            other => return self.broken("a protocol that is off is not spoken", other),
        }
        // The next one that is accepted is a member: no stranger got that far.
        let (_, member) = self.connect().await?;
        self.must("only members are accepted", member.peer() == a.place().node)
    }

    async fn absent(&self) -> Outcome {
        let within = Duration::from_secs(1);
        let dial =
            async { Ok::<_, ()>(self.ends.a.dial(self.ends.absent, Protocol::Mesh, within).await) };
        match self.step("a dial to nobody ends", dial).await? {
            Err(err @ (DialError::Silent { .. } | DialError::NoWay { .. })) => {
                self.must("silence may pass", err.kind() == ErrorKind::Unavailable)
            }
            // A transport that can tell says that there is nobody, without waiting.
            Err(DialError::NoAddress { .. }) => Ok(()),
            other => self.broken("nobody answers", other),
        }
    }
}
