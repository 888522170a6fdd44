//! The relay's door: TLS and nothing else, and no more visitors than it has room for.

use std::sync::Arc;
use std::time::Duration;

use iroh_relay::KeyCache;
use iroh_relay::http::RELAY_PROBE_PATH;
use iroh_relay::server::http_server::{BytesBody, TlsConfig};
use iroh_relay::server::{Handlers, Metrics, RelayService};
use sedge_base::Cancel;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Members;

/// How many connections there may be at once: far more than a swarm of ours has members.
const MOST: usize = 2048;
/// How many keys are kept parsed.
const KEYS: usize = 4096;
/// How long a visitor may take to become a client.
const ESTABLISH: Duration = Duration::from_secs(30);
/// How long to wait after the system refused to accept, as when it is out of files.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the service that passes frames between those who are admitted.
pub(super) fn service(members: Members) -> RelayService {
    let mut handlers = Handlers::default();
    // How far away the relay is, for those whom UDP does not reach.
    if let Ok(get) = "GET".parse() {
        handlers.insert(
            (get, RELAY_PROBE_PATH),
            Box::new(|_, response| {
                let body: BytesBody = Box::<String>::default();
                response.status(200).body(body).map_err(Into::into)
            }),
        );
    }
    let metrics = Arc::new(Metrics::default());
    let keys = KeyCache::new(KEYS);
    RelayService::new(handlers, Default::default(), None, keys, Arc::new(members), metrics)
}

/// Serves visitors until it is told to stop; then every client is told.
pub(super) async fn serve(
    listener: TcpListener,
    service: RelayService,
    tls: TlsConfig,
    cancel: Cancel,
) {
    let mut visitors = JoinSet::new();
    let mut pause = interval(PAUSE);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            // Whatever became of a visitor, there is room for another one.
            Some(_) = visitors.join_next() => continue,
            accepted = listener.accept(), if visitors.len() < MOST => accepted,
        };
        match accepted {
            Ok((tcp, _)) => {
                let (service, tls) = (service.clone(), tls.clone());
                visitors.spawn(service.handle_connection(tcp, Some(tls), ESTABLISH));
            }
            Err(_) => {
                pause.tick().await;
            }
        }
    }
    service.shutdown().await;
    visitors.shutdown().await;
}
