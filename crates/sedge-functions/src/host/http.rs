//! `wasi:http` of version 0.2: requests come in; those that go out go where the deployment and the
//! node's configuration say, with what the host adds.

use std::fmt::Display;
use std::sync::Arc;

use hyper::{Method, Request};
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::wasi::Wasi;
use crate::events::OutboundRefused;
use crate::outbound::{Aim, Answered, Client, Outbound, Secrets, Sending, Transfer, Walls};

/// The most requests of one guest that are under way at the same time.
const MOST_SENDING: usize = 32;
/// The most refusals of one task that are logged.
pub(super) const MOST_TOLD: u32 = 8;
/// Why a place is refused that nobody has named.
pub(super) const NOT_NAMED: &str = "the function was not deployed with this place";
/// Why a place is refused that the node does not let functions reach.
pub(super) const NOT_LOCAL: &str =
    "it is on this machine or its networks, and `functions.local_places` does not name it";

/// What lets requests and connections of one function out.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) function: String,
    pub(crate) outbound: Outbound,
    pub(crate) secrets: Arc<dyn Secrets>,
    pub(crate) walls: Arc<Walls>,
    pub(crate) client: Client,
}

/// Where requests of one guest leave.
#[derive(Debug)]
pub(crate) struct Gate {
    way: Option<Arc<Way>>,
    sending: Arc<Semaphore>,
    told: u32,
}

impl Gate {
    /// A gate that stays closed without a way.
    pub(super) fn new(way: Option<&Arc<Way>>) -> Self {
        let places = way.map_or(0, |_| MOST_SENDING);
        Self { way: way.cloned(), sending: Arc::new(Semaphore::new(places)), told: 0 }
    }

    /// Returns what a connection to a server may go by, if the function was deployed with the place.
    pub(super) fn way_to(&mut self, aim: &Aim) -> Option<Arc<Way>> {
        let way = self.way.clone()?;
        if way.outbound.covers(aim) {
            return Some(way);
        }
        self.refused(&way, aim, &NOT_NAMED);
        None
    }

    /// Checks a request and puts into it what the host adds.
    fn prepare(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Sending, Error> {
        let Some(way) = self.way.clone() else { return Err(Error::HttpRequestDenied) };
        let Some(aim) = Aim::of(request.uri()) else { return Err(Error::HttpRequestUriInvalid) };
        // An answer to TRACE is the request itself, and CONNECT makes a way to somewhere else.
        if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
            return Err(Error::HttpRequestMethodInvalid);
        }
        if !way.outbound.covers(&aim) {
            self.refused(&way, &aim, &NOT_NAMED);
            return Err(Error::HttpRequestDenied);
        }
        let mut secrets = Vec::new();
        match way.outbound.fill(&aim, &*way.secrets) {
            // What the guest said there itself is replaced.
            Ok(filled) => {
                for header in filled {
                    request.headers_mut().insert(header.name, header.value);
                    secrets.extend(header.secrets);
                }
            }
            Err(why) => {
                self.refused(&way, &aim, &why);
                return Err(Error::HttpRequestDenied);
            }
        }
        let permit = Arc::clone(&self.sending).try_acquire_owned();
        let permit = permit.map_err(|_| Error::ConnectionLimitReached)?;
        let (walls, client) = (Arc::clone(&way.walls), way.client.clone());
        let options = options.unwrap_or_default();
        Ok(Sending { aim, request, options, secrets, walls, client, permit })
    }

    fn refused(&mut self, way: &Way, to: &Aim, why: &dyn Display) {
        self.told += 1;
        if self.told <= MOST_TOLD {
            OutboundRefused { function: &way.function, to, why }.emit();
        }
    }
}

impl WasiHttpHooks for Gate {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _transfer: Transfer,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let sending = match self.prepare(request, options) {
            Ok(sending) => sending,
            Err(refused) => return Box::new(std::future::ready(Err(refused))),
        };
        let function = self.way.as_ref().map_or_else(String::new, |it| it.function.clone());
        Box::new(async move {
            let aim = sending.aim.clone();
            let answered = sending.send().await;
            if matches!(answered, Err(Error::DestinationIpProhibited)) {
                OutboundRefused { function: &function, to: &aim, why: &NOT_LOCAL }.emit();
            }
            answered
        })
    }
}

impl WasiHttpView for Wasi {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.gate, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Links `wasi:http/types` and `wasi:http/outgoing-handler`.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}
