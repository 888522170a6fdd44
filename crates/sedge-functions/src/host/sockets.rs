//! `wasi:sockets` of version 0.2: TCP connections to where the deployment and the node's configuration say.
//!
//! Nobody listens, and no datagram leaves. A name is looked up when the deployment names it, and its addresses are then
//! reached by that name alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{
    self, ErrorCode, IpAddress, IpAddressFamily, Network,
};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket;
use wasmtime_wasi::p2::{DynPollable, IoError, SocketError, SocketResult, TcpSocket};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::http::{MOST_TOLD, Way};
use super::wasi::Wasi;
use crate::events::OutboundRefused;
use crate::outbound::{Aim, Scheme};

/// The most sockets of one guest at the same time.
const MOST_OPEN: usize = 32;
/// The most names that one guest looks up.
const MOST_LOOKUPS: u32 = 256;
/// The most addresses of names that are known of one guest.
const MOST_FOUND: usize = 1024;

/// What sockets of one guest may do.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Where they lead; nowhere without it.
    known: Option<Arc<Known>>,
    /// Sockets that were made, by their handles; some may be closed by now.
    made: Vec<u32>,
    /// The name behind each answer that is being read, by its handle.
    asked: BTreeMap<u32, String>,
    lookups: u32,
}

/// What the check of addresses knows.
#[derive(Debug)]
struct Known {
    way: Arc<Way>,
    /// Names that the guest has looked up, and what they mean.
    found: Mutex<Vec<(String, IpAddr)>>,
    told: AtomicU32,
}

impl Sockets {
    /// Sockets that lead nowhere, unless the way has places for them.
    pub(super) fn new(way: Option<&Arc<Way>>) -> Self {
        let known = way.filter(|it| it.outbound.has_sockets()).map(|it| {
            let (found, told) = (Mutex::default(), AtomicU32::new(0));
            Arc::new(Known { way: Arc::clone(it), found, told })
        });
        Self { known, ..Self::default() }
    }

    /// Tells a guest's state what its sockets may do.
    pub(super) fn allow(&self, wasi: &mut WasiCtxBuilder) {
        wasi.allow_udp(false).allow_tcp(self.known.is_some());
        wasi.allow_ip_name_lookup(self.known.is_some());
        let Some(known) = self.known.clone() else { return };
        wasi.socket_addr_check(move |address, what| {
            let allowed = match what {
                SocketAddrUse::TcpConnect => known.leads_to(address),
                // What the system does by itself when a connection is made.
                SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
                _ => false,
            };
            Box::pin(std::future::ready(allowed))
        });
    }
}

impl Known {
    fn found(&self) -> MutexGuard<'_, Vec<(String, IpAddr)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a name means.
    fn learn(&self, name: &str, address: IpAddr) {
        let mut found = self.found();
        let known = found.iter().any(|it| it.0 == name && it.1 == address);
        if !known && found.len() < MOST_FOUND {
            found.push((name.to_owned(), address));
        }
    }

    /// Returns whether the deployment and the node let a connection go to an address: as itself, or as what a name
    /// means that the guest has looked up.
    fn leads_to(&self, to: SocketAddr) -> bool {
        let address = to.ip().to_canonical();
        let mut hosts = vec![address.to_string()];
        hosts.extend(self.found().iter().filter(|it| it.1 == address).map(|it| it.0.clone()));
        let aims = hosts.iter().filter_map(|it| Aim::at(Scheme::Tcp, it, to.port()));
        let (named, refused): (Vec<Aim>, Vec<Aim>) =
            aims.partition(|it| self.way.outbound.covers(it));
        if named.iter().any(|it| self.way.walls.allow(it, &[to])) {
            return true;
        }
        match (named.first(), refused.first()) {
            (Some(aim), _) => self.refused(aim, super::http::NOT_LOCAL),
            (None, Some(aim)) => self.refused(aim, super::http::NOT_NAMED),
            (None, None) => {}
        }
        false
    }

    fn refused(&self, to: &Aim, why: &str) {
        if self.told.fetch_add(1, Ordering::Relaxed) < MOST_TOLD {
            OutboundRefused { function: &self.way.function, to, why: &why }.emit();
        }
    }
}

/// What makes sockets and looks up names for a guest, with our limits in front.
struct Linked<'a> {
    ctx: &'a mut WasiCtx,
    table: &'a mut ResourceTable,
    sockets: &'a mut Sockets,
}

/// Says to the engine that [`Linked`] is behind the interfaces.
struct HasLinked;

impl HasData for HasLinked {
    type Data<'a> = Linked<'a>;
}

impl WasiView for Linked<'_> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.ctx, table: self.table }
    }
}

impl tcp_create_socket::Host for Linked<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        let table = &*self.table;
        let is_open = |it: &u32| table.get(&Resource::<TcpSocket>::new_borrow(*it)).is_ok();
        self.sockets.made.retain(is_open);
        if self.sockets.made.len() >= MOST_OPEN {
            return Err(ErrorCode::NewSocketLimit.into());
        }
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family)?;
        self.sockets.made.push(socket.rep());
        Ok(socket)
    }
}

impl ip_name_lookup::Host for Linked<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        let host = Aim::at(Scheme::Tcp, &name, 0).map(|it| it.host().to_owned());
        let named = self.sockets.known.as_ref().zip(host.as_ref());
        let named = named.is_some_and(|(known, host)| {
            // An address means itself; whether it may be reached is asked later.
            host.parse::<IpAddr>().is_ok() || known.way.outbound.looks_up(host)
        });
        if !named || self.sockets.lookups >= MOST_LOOKUPS {
            return Err(ErrorCode::AccessDenied.into());
        }
        self.sockets.lookups += 1;
        let stream = ip_name_lookup::Host::resolve_addresses(&mut self.sockets(), network, name)?;
        if let Some(host) = host {
            self.sockets.asked.insert(stream.rep(), host);
        }
        Ok(stream)
    }
}

impl ip_name_lookup::HostResolveAddressStream for Linked<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let handle = stream.rep();
        let address = ip_name_lookup::HostResolveAddressStream::resolve_next_address(
            &mut self.sockets(),
            stream,
        )?;
        let asked = self.sockets.known.as_ref().zip(self.sockets.asked.get(&handle));
        if let (Some((known, name)), Some(address)) = (asked, &address) {
            known.learn(name, plain(address));
        }
        Ok(address)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        ip_name_lookup::HostResolveAddressStream::subscribe(&mut self.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.sockets.asked.remove(&stream.rep());
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.sockets(), stream)
    }
}

impl network::Host for Linked<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.sockets(), error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for Linked<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}

/// Returns an address as we know it.
fn plain(address: &IpAddress) -> IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => {
            IpAddr::from([a, b, c, d, e, f, g, h]).to_canonical()
        }
    }
}

impl Wasi {
    fn linked(&mut self) -> Linked<'_> {
        Linked { ctx: &mut self.wasi, table: &mut self.table, sockets: &mut self.sockets }
    }
}

/// Puts our limits in front of what makes sockets and looks up names, both of which are linked already.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    tcp_create_socket::add_to_linker::<Wasi, HasLinked>(linker, Wasi::linked)?;
    ip_name_lookup::add_to_linker::<Wasi, HasLinked>(linker, Wasi::linked)?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Client, NoSecrets, Outbound, Place, Reach, Walls};

    fn known(places: &[&str], local: &[&str]) -> Known {
        let read =
            |them: &[&str]| -> Vec<Place> { them.iter().map(|it| it.parse().unwrap()).collect() };
        let way = Way {
            function: "f".to_owned(),
            outbound: Outbound { places: read(places), headers: Vec::new() },
            secrets: Arc::new(NoSecrets),
            walls: Arc::new(Walls { reach: Reach::Public, local: read(local) }),
            client: Client::new().unwrap(),
        };
        Known { way: Arc::new(way), found: Mutex::default(), told: AtomicU32::new(0) }
    }

    #[track_caller]
    fn leads(known: &Known, to: &str, expected: bool) {
        assert_eq!(known.leads_to(to.parse().unwrap()), expected, "{to}");
    }

    #[test]
    fn an_address_is_reached_by_the_name_that_led_there() {
        let known = known(&["tcp://db.example.com:5432"], &[]);
        leads(&known, "8.8.8.8:5432", false);
        known.learn("db.example.com", "8.8.8.8".parse().unwrap());
        leads(&known, "8.8.8.8:5432", true);
        leads(&known, "8.8.8.8:5433", false);
        leads(&known, "8.8.4.4:5432", false);
    }

    #[test]
    fn a_name_that_is_bound_anew_opens_nothing_here() {
        let local = ["tcp://127.0.0.1:6379", "tcp://localhost:6379", "http://db.example.com:6379"];
        let known = known(&["tcp://db.example.com:6379"], &local);
        known.learn("db.example.com", "127.0.0.1".parse().unwrap());
        leads(&known, "127.0.0.1:6379", false);
        leads(&known, "[::ffff:127.0.0.1]:6379", false);
    }

    #[test]
    fn a_node_that_names_an_address_lets_it_be_reached_by_those_who_name_it() {
        let known = known(&["*://10.0.0.0/8:*"], &["tcp://10.0.0.7:5432"]);
        leads(&known, "10.0.0.7:5432", true);
        leads(&known, "10.0.0.7:5433", false);
        leads(&known, "10.0.0.8:5432", false);
        leads(&known, "8.8.8.8:5432", false);
    }
}
