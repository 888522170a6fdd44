//! The transport alone: what no call to another machine can be faster than.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId, Secret, TaskScope};
use sedge_net::{
    Admission, MeasureError, Protocol, Quic, QuicOptions, RoundTrips, Transport, answer, ping,
    ping_bare,
};

use super::Figure;
use crate::failed::Failed;
use crate::ui::spoken;

/// How long one measurement may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Lets everybody in: both ends are this very process.
#[derive(Debug)]
struct Everybody;

impl Admission for Everybody {
    fn admits(&self, _: NodeId, _: Protocol) -> bool {
        true
    }
}

/// Measures two ends in this process, over loopback.
pub(super) fn measure(rounds: u32) -> Result<Vec<Figure>, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|err| Failed::io("no runtime", &err))?;
    runtime.block_on(pings(rounds as usize))
}

async fn pings(rounds: usize) -> Result<Vec<Figure>, Failed> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let measured = |err: MeasureError| Failed::of(err.kind(), &err);
    let bare = ping_bare(any, rounds, WITHIN).await.map_err(measured)?;
    let (near, far) = (end(any).await?, Arc::new(end(any).await?));
    let scope = TaskScope::new();
    let answering = Arc::clone(&far);
    scope.spawn("answers", async move |cancel| {
        let answers = async {
            while let Some(conn) = answering.accept().await {
                answer(&conn).await;
            }
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            () = answers => {}
        }
    });
    let place = far.place().peer_addr();
    let conn = near
        .dial(&place, Protocol::Mesh, WITHIN)
        .await
        .map_err(|err| Failed::of(err.kind(), &err))?;
    ping(&conn, rounds.div_ceil(10), WITHIN).await.map_err(measured)?;
    let trips = ping(&conn, rounds, WITHIN).await.map_err(measured)?;
    near.close(WITHIN).await;
    drop(scope.shutdown(WITHIN).await);
    far.close(WITHIN).await;
    let words = |it: &RoundTrips| format!("p50 {}, p99 {}", spoken(it.p50), spoken(it.p99));
    let method = format!("{rounds} times 64 bytes there and back on one stream, both ends in this process, over loopback");
    Ok(vec![
        Figure::new("round trip, encrypted transport", words(&trips), method)
            .beside(format!("bare UDP socket {}", words(&bare))),
    ])
}

async fn end(listen: SocketAddr) -> Result<Quic, Failed> {
    let seed = sedge_trust::random_bytes().map_err(|err| Failed::of(ErrorKind::Internal, &err))?;
    let options = QuicOptions::new(Secret::new(seed), vec![listen]);
    Quic::bind(options, Arc::new(Everybody)).await.map_err(|err| Failed::of(err.kind(), &err))
}
