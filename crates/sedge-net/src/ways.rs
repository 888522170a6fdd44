//! Several transports as one: the nearest that leads to a peer carries the connection.
//!
//! The ways are tried in their order. Each next one begins when the one before it failed, or a
//! moment later when that one is still at it; whichever connects first wins, and the others end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join_all, select_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use sedge_base::NodeId;
use tokio::time::sleep;

use crate::conn::Conn;
use crate::transport::{DialError, PeerAddr, Place, Protocol, Transport, WayTried};

/// How long a way has for itself before the next one begins beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Several transports of one node, nearest first.
#[derive(Debug)]
pub struct Ways {
    node: NodeId,
    ways: Vec<Way>,
}

#[derive(Debug)]
struct Way {
    transport: Arc<dyn Transport>,
    /// It accepts nothing any more.
    ended: AtomicBool,
}

type Ended = (usize, Result<Conn, DialError>);

impl Ways {
    /// Makes one transport of several, which must be ends of the same node; the nearest comes first.
    pub fn new(node: NodeId, transports: Vec<Arc<dyn Transport>>) -> Self {
        let way = |transport| Way { transport, ended: AtomicBool::new(false) };
        Self { node, ways: transports.into_iter().map(way).collect() }
    }

    fn begin<'a>(
        &'a self,
        index: usize,
        to: &'a PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> BoxFuture<'a, Ended> {
        let transport = &self.ways[index].transport;
        transport.dial(to, protocol, within).map(move |it| (index, it)).boxed()
    }

    fn failed(&self, to: &PeerAddr, errors: Vec<(usize, DialError)>) -> DialError {
        // Who answered and refused has said all that there is to say.
        let (mut said, mut silent) = (Vec::new(), Vec::new());
        for (index, error) in errors {
            let scheme = self.ways[index].transport.place().scheme;
            match error {
                DialError::NoAddress { .. } => silent.push(WayTried { scheme, error }),
                DialError::Refused { .. }
                | DialError::Full { .. }
                | DialError::NotSpoken { .. }
                | DialError::NotAdmitted { .. }
                | DialError::Itself => return error,
                error => said.push(WayTried { scheme, error }),
            }
        }
        let mut ways = if said.is_empty() { silent } else { said };
        match (ways.pop(), ways.is_empty()) {
            (None, _) => DialError::Closed,
            (Some(only), true) => only.error,
            (Some(last), false) => {
                ways.push(last);
                DialError::NoWay { peer: to.node, ways: ways.into() }
            }
        }
    }
}

#[async_trait]
impl Transport for Ways {
    fn place(&self) -> Place {
        let direct = self.ways.iter().flat_map(|it| it.transport.place().direct).collect();
        let scheme = self.ways.last().map_or("none", |it| it.transport.place().scheme);
        Place { scheme, node: self.node, direct }
    }

    async fn dial(
        &self,
        to: &PeerAddr,
        protocol: Protocol,
        within: Duration,
    ) -> Result<Conn, DialError> {
        let mut errors = Vec::new();
        let mut waiting = 0..self.ways.len();
        let mut begin = || waiting.next().map(|it| self.begin(it, to, protocol, within));
        let mut dials = FuturesUnordered::from_iter(begin());
        while !dials.is_empty() {
            let moment = sleep(HEAD_START);
            tokio::select! {
                biased;
                Some((index, ended)) = dials.next() => match ended {
                    Ok(conn) => return Ok(conn),
                    Err(error) => errors.push((index, error)),
                },
                () = moment => {}
            }
            dials.extend(begin());
        }
        Err(self.failed(to, errors))
    }

    async fn accept(&self) -> Option<Conn> {
        loop {
            let open = self.ways.iter().filter(|it| !it.ended.load(Ordering::Relaxed));
            let accepting: Vec<_> = open
                .map(|way| way.transport.accept().map(move |conn| (way, conn)).boxed())
                .collect();
            if accepting.is_empty() {
                return None;
            }
            match select_all(accepting).await.0 {
                (_, Some(conn)) => return Some(conn),
                (way, None) => way.ended.store(true, Ordering::Relaxed),
            }
        }
    }

    async fn close(&self, within: Duration) {
        join_all(self.ways.iter().map(|it| it.transport.close(within))).await;
    }
}
