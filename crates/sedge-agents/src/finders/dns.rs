//! SRV records of a name server.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData};

use super::{FindError, SERVICE};
use crate::candidate::{AgentUrl, Candidate};
use crate::discover::{MOST, Options};

/// Returns the targets of a name's SRV records, the preferred first.
pub(super) async fn find(
    name: &str,
    found_by: &'static str,
    options: &Options,
) -> Result<Vec<Candidate>, FindError> {
    let whole = if name.starts_with('_') { name.to_owned() } else { format!("{SERVICE}.{name}") };
    let wrong = || FindError::Name { name: name.to_owned() };
    let mut query = Name::from_ascii(&whole).map_err(|_| wrong())?;
    // Named by a person as a whole: the search list of the machine is for short names.
    query.set_fqdn(true);
    let resolver = resolver(options).map_err(|it| FindError::NoServer(Box::new(it)))?;
    let answer = resolver
        .srv_lookup(query)
        .await
        .map_err(|source| FindError::NoRecord { name: whole.clone(), source: Box::new(source) })?;
    let mut records: Vec<&SRV> = answer
        .answers()
        .iter()
        .filter_map(|it| if let RData::SRV(record) = &it.data { Some(record) } else { None })
        // RFC 2782: a target of "." says that there is no such service.
        .filter(|it| !it.target.is_root())
        .collect();
    records.sort_by_key(|it| (it.priority, std::cmp::Reverse(it.weight)));
    let mut found = Vec::new();
    for record in records.into_iter().take(MOST) {
        let host = record.target.to_ascii();
        let Ok(url) = AgentUrl::of(&host, record.port) else { continue };
        let known = resolver.lookup_ip(record.target.clone()).await;
        let addresses =
            known.map(|it| it.iter().map(|ip| SocketAddr::new(ip, record.port)).collect());
        // Without an address the system's own resolver may still know the host.
        found.push(Candidate { url, found_by, addresses: addresses.unwrap_or_default() });
    }
    Ok(found)
}

fn resolver(options: &Options) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let mut builder = match options.dns_server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let most = options.within;
    builder.options_mut().timeout = most;
    builder.options_mut().attempts = 1;
    builder.build()
}
