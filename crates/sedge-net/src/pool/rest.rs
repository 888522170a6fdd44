//! How a connection that nobody uses is closed: when both ends say so.
//!
//! An end that closed by itself would lose what the other end begins on the connection at that moment.
//! So it first asks on a stream, and meanwhile gives the connection to nobody; who agrees, gives it to
//! nobody from then on. Whoever needs the peer before it is closed dials anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout};

use super::{Peer, Pool, SAME_MOMENT};
use crate::conn::{CloseReason, Conn};
use crate::frame::{Frame, FrameError, FrameReader, FrameWriter};

/// The kind of the frame by which a peer asks, on a stream of its own, whether a connection may be closed,
/// and of the answer: [`Pool::answer_rest`] gives it.
pub const REST: u8 = 48;
/// How long the answer may take; who gives none has nothing to lose.
const ANSWER: Duration = Duration::from_secs(5);
const YES: &[u8] = &[1];
const NO: &[u8] = &[0];

impl Pool {
    /// Asks a peer whether the connection is quiet for it too, and closes it then.
    pub(super) fn let_rest(&self, peer: &Arc<Peer>) {
        let conn = {
            let mut state = peer.state();
            if state.resting.is_some() {
                return;
            }
            state.resting = state.live.take();
            let Some(resting) = &state.resting else { return };
            resting.conn.clone()
        };
        let (pool, peer) = (self.clone(), Arc::clone(peer));
        self.0.scope.spawn("pool rest", move |cancel| async move {
            let rests = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                answer = timeout(ANSWER, ask(&conn)) => !matches!(answer, Ok(Some(false))),
            };
            if rests {
                conn.close(CloseReason::Done);
                return pool.ended(&conn);
            }
            let mut state = peer.state();
            let Some(mut back) = state.resting.take_if(|it| it.conn.is_same(&conn)) else { return };
            back.quiet_since = Instant::now();
            if state.open().is_none() {
                state.live = Some(back);
            } else {
                state.retired.push(back);
            }
        });
    }

    /// Answers a peer's frame of kind [`REST`]: whether nobody uses the connection here. If so, nobody
    /// is given it any more.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when the stream broke.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the peer gets no answer, and closes the connection.
    pub async fn answer_rest<W: AsyncWrite + Unpin>(
        &self,
        conn: &Conn,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError> {
        let answer = if self.rests(conn) { YES } else { NO };
        writer.write(&Frame::new(REST, answer)).await
    }

    fn rests(&self, conn: &Conn) -> bool {
        let peer = self.peer(conn.peer());
        let mut state = peer.state();
        let Some(live) = state.live.as_mut().filter(|it| it.conn.is_same(conn)) else {
            return true;
        };
        // The stream that asks is one.
        let busy = live.conn.streams() > 1 || live.quiet_since.elapsed() < SAME_MOMENT;
        if !busy {
            let mut live = live.clone();
            live.quiet_since = Instant::now();
            state.live = None;
            state.retired.push(live);
        }
        !busy
    }
}

/// Returns what the peer says; `None` when it says nothing.
async fn ask(conn: &Conn) -> Option<bool> {
    let stream = conn.open(ANSWER).await.ok()?;
    let mut writer = FrameWriter::new(stream.send);
    writer.write(&Frame::new(REST, Vec::new())).await.ok()?;
    let answer = FrameReader::new(stream.recv).next().await.ok()??;
    drop(writer.into_inner().finish().await);
    (answer.kind == REST).then(|| *answer.payload == *YES)
}
