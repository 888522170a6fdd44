//! Whoever on the local network announces an agent: one question, RFC 6762 section 5.1.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::op::{Message, MessageType, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{FindError, SERVICE};
use crate::candidate::{AgentUrl, Candidate};
use crate::discover::{MOST, Options};

/// The largest message, RFC 6762 section 17.
const LARGEST: usize = 9000;

/// Asks once and listens for as long as the options say.
pub(super) async fn find(options: &Options) -> Result<Vec<Candidate>, FindError> {
    let to = options.mdns_group;
    let from = SocketAddr::new(if to.ip().is_loopback() { to.ip() } else { unspecified(to) }, 0);
    let failed = |source| FindError::Network { address: from, source };
    let socket = UdpSocket::bind(from).await.map_err(failed)?;
    let whole = format!("{SERVICE}.local.");
    let name = Name::from_ascii(&whole).map_err(|_| FindError::Name { name: whole.clone() })?;
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    question.add_query(Query::query(name, RecordType::PTR));
    let mut bytes = question.to_vec().map_err(|_| FindError::Name { name: whole })?;
    // The class stands last; its highest bit asks for an answer to us alone (section 5.4).
    if let [.., class, _] = bytes.as_mut_slice() {
        *class |= 0x80;
    }
    socket.send_to(&bytes, to).await.map_err(failed)?;
    let end = Instant::now() + options.mdns_listen;
    let mut heard = Heard::default();
    let mut buffer = vec![0; LARGEST];
    while heard.services.len() < MOST {
        let Ok(received) = timeout_at(end, socket.recv_from(&mut buffer)).await else { break };
        let (length, _) = received.map_err(failed)?;
        heard.take(&buffer[..length]);
    }
    Ok(heard.candidates())
}

fn unspecified(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => IpAddr::from([0; 4]),
        SocketAddr::V6(_) => IpAddr::from([0; 16]),
    }
}

/// What the answers said so far.
#[derive(Debug, Default)]
struct Heard {
    /// Host and port by the name of the service.
    services: BTreeMap<String, (String, u16)>,
    /// Addresses by the name of the host.
    hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl Heard {
    /// Takes one message; what is no answer is skipped.
    fn take(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::from_vec(bytes) else { return };
        if message.metadata.message_type != MessageType::Response {
            return;
        }
        let suffix = format!("{SERVICE}.local.");
        for record in message.answers.iter().chain(&message.additionals) {
            let name = record.name.to_ascii().to_ascii_lowercase();
            match &record.data {
                RData::SRV(service) if name.ends_with(&suffix) && self.services.len() < MOST => {
                    let host = service.target.to_ascii().to_ascii_lowercase();
                    self.services.insert(name, (host, service.port));
                }
                RData::A(it) => self.host(name, IpAddr::V4(it.0)),
                RData::AAAA(it) => self.host(name, IpAddr::V6(it.0)),
                _ => {}
            }
        }
    }

    fn host(&mut self, name: String, address: IpAddr) {
        if self.hosts.len() < MOST || self.hosts.contains_key(&name) {
            let addresses = self.hosts.entry(name).or_default();
            if addresses.len() < 8 && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }

    fn candidates(self) -> Vec<Candidate> {
        let Self { services, hosts } = self;
        let of = |(host, port): (String, u16)| {
            let known = hosts.get(&host).into_iter().flatten();
            let addresses = known.map(|it| SocketAddr::new(*it, port)).collect();
            Some(Candidate { url: AgentUrl::of(&host, port).ok()?, found_by: "mdns", addresses })
        };
        services.into_values().filter_map(of).collect()
    }
}

/// Feeds one message to what the answers said so far; returns whether somebody is known by it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let mut heard = Heard::default();
    heard.take(bytes);
    let known = !heard.services.is_empty() || !heard.hosts.is_empty();
    drop(heard.candidates());
    known
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_stop(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut heard = Heard::default();
            heard.take(&bytes);
            drop(heard.candidates());
        }
    }
}
