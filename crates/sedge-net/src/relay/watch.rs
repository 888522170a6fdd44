//! The relays that an end knows: which of them answer, and which of them are used.
//!
//! A relay that failed three times in a row is not used any more (seed 003, `RelayManager`); one good
//! answer brings it back. A check is a TCP and a TLS handshake that proves the relay's key.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use iroh::RelayUrl;
use iroh_relay::{RelayConfig, RelayQuicConfig};
use rustls::pki_types::ServerName;
use sedge_base::TaskScope;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use super::{RelayAddr, RelayState};
use crate::quic::{Held, held};
use crate::tls;

/// How often each relay is checked.
const EVERY: Duration = Duration::from_secs(1);
/// How long a check may take.
const WITHIN: Duration = Duration::from_millis(900);
/// So many failures in a row make a relay unhealthy.
const FAILURES: u32 = 3;
/// The most relays that one end knows.
const MOST: usize = 32;

/// The relays of one end.
#[derive(Debug)]
pub(crate) struct Watch {
    endpoint: Held,
    known: tls::Known,
    states: Mutex<BTreeMap<RelayAddr, RelayState>>,
    changed: Notify,
}

impl Watch {
    /// Watches the relays of an endpoint that checks certificates against `known`.
    pub(crate) fn start(endpoint: Held, known: tls::Known, scope: &TaskScope) -> Arc<Self> {
        let states = Mutex::default();
        let watch = Arc::new(Self { endpoint, known, states, changed: Notify::new() });
        let here = Arc::clone(&watch);
        scope.spawn("relay watch", |cancel| async move {
            let mut every = tokio::time::interval(EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    _ = every.tick() => {}
                    () = here.changed.notified() => {}
                }
                here.check_all().await;
            }
        });
        watch
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<RelayAddr, RelayState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses these relays from now on and no others; those beyond the 32nd are left out.
    pub(crate) async fn set(&self, relays: &BTreeSet<RelayAddr>) {
        let relays: BTreeSet<_> = relays.iter().take(MOST).collect();
        let nodes = relays.iter().map(|it| it.node).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = nodes;
        let (gone, new): (Vec<_>, Vec<_>) = {
            let mut states = self.states();
            let gone = states.keys().filter(|it| !relays.contains(it)).cloned().collect::<Vec<_>>();
            gone.iter().for_each(|it| drop(states.remove(it)));
            let new: Vec<_> =
                relays.into_iter().filter(|it| !states.contains_key(it)).cloned().collect();
            states.extend(new.iter().map(|it| (it.clone(), fresh(it))));
            (gone, new)
        };
        for relay in &gone {
            self.unuse(relay).await;
        }
        for relay in &new {
            self.use_it(relay).await;
        }
        if !new.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Returns how each relay fares.
    pub(crate) fn list(&self) -> Vec<RelayState> {
        self.states().values().cloned().collect()
    }

    /// Returns the relays that are used now.
    pub(crate) fn urls(&self) -> Vec<RelayUrl> {
        let states = self.states();
        states.values().filter(|it| it.healthy).filter_map(|it| it.relay.url()).collect()
    }

    async fn check_all(&self) {
        let relays: Vec<_> = self.states().keys().cloned().collect();
        join_all(relays.iter().map(|it| self.check_one(it))).await;
    }

    async fn check_one(&self, relay: &RelayAddr) {
        let began = Instant::now();
        let checked = match timeout(WITHIN, check(relay)).await {
            Ok(checked) => checked.map_err(|it| it.to_string()),
            Err(_) => Err(format!("no answer within {WITHIN:?}")),
        };
        let turned = {
            let mut states = self.states();
            let Some(state) = states.get_mut(relay) else { return };
            let was = state.healthy;
            match checked {
                Ok(()) => {
                    state.failures = 0;
                    state.healthy = true;
                    state.error = None;
                    state.took_us = u64::try_from(began.elapsed().as_micros()).ok();
                }
                Err(error) => {
                    state.failures = state.failures.saturating_add(1);
                    state.healthy &= state.failures < FAILURES;
                    state.error = Some(error);
                }
            }
            (was != state.healthy).then_some(state.healthy)
        };
        match turned {
            Some(true) => {
                info!(target: "sedge::events::relay_back", %relay);
                self.use_it(relay).await;
            }
            Some(false) => {
                warn!(target: "sedge::events::relay_unhealthy", %relay);
                self.unuse(relay).await;
            }
            None => {}
        }
    }

    async fn use_it(&self, relay: &RelayAddr) {
        if let (Some(endpoint), Some(url)) = (held(&self.endpoint), relay.url()) {
            let quic = Some(RelayQuicConfig::new(relay.port));
            let config = Arc::new(RelayConfig::new(url.clone(), quic));
            drop(endpoint.insert_relay(url, config).await);
        }
    }

    async fn unuse(&self, relay: &RelayAddr) {
        if let (Some(endpoint), Some(url)) = (held(&self.endpoint), relay.url()) {
            drop(endpoint.remove_relay(&url).await);
        }
    }
}

fn fresh(relay: &RelayAddr) -> RelayState {
    let relay = relay.clone();
    RelayState { relay, healthy: true, failures: 0, took_us: None, error: None }
}

async fn check(relay: &RelayAddr) -> io::Result<()> {
    let host = relay.host.trim_matches(['[', ']']);
    let tcp = TcpStream::connect((host, relay.port)).await?;
    let name = ServerName::try_from(tls::NAME).map_err(io::Error::other)?;
    drop(TlsConnector::from(tls::client(relay.node)?).connect(name, tcp).await?);
    Ok(())
}
