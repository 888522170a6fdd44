//! How far a node lets its functions reach, whatever their deployments say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Deserialize;

use super::Place;
use super::place::Aim;

/// How far a node lets its functions reach, `functions.outbound` in its configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Nowhere.
    None,
    /// Public addresses, and on this machine and its networks what the owner has named.
    #[default]
    Public,
}

/// What a node's configuration says about requests of its functions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Walls {
    pub(crate) reach: Reach,
    /// Places on this machine and its networks that functions may reach all the same.
    pub(crate) local: Vec<Place>,
}

impl Walls {
    /// Returns whether a request may be sent to these addresses of its host; all of them have to be
    /// allowed, because nobody knows which one answers.
    pub(crate) fn allow(&self, aim: &Aim, addresses: &[SocketAddr]) -> bool {
        let named = || self.local.iter().any(|it| it.covers(aim));
        let public = || addresses.iter().all(|it| is_public(it.ip().to_canonical()));
        self.reach == Reach::Public && !addresses.is_empty() && (public() || named())
    }
}

/// Everything that IANA has not set aside for one machine, one network, documentation or a way into
/// another protocol (the special-purpose registries of RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let aside = ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_documentation();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99);
    let benchmarks = a == 198 && (b == 18 || b == 19);
    !(aside || shared || protocols || benchmarks || a == 0 || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, .., y, z] = ip.segments();
    if ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        // NAT64: what is meant is an address of version 4.
        let ([y1, y2], [z1, z2]) = (y.to_be_bytes(), z.to_be_bytes());
        return is_public_v4(Ipv4Addr::new(y1, y2, z1, z2));
    }
    let global = a & 0xe000 == 0x2000;
    let protocols = a == 0x2001 && b < 0x200;
    let documentation = (a == 0x2001 && b == 0xdb8) || (a == 0x3fff && b < 0x1000);
    let six_to_four = a == 0x2002;
    global && !(protocols || documentation || six_to_four)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_its_networks_are_not_public() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "203.0.113.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "ff02::1",
            "fec0::1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(ip.parse::<IpAddr>().unwrap().to_canonical()), "{ip}");
        }
        for ip in ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"] {
            assert!(is_public(ip.parse::<IpAddr>().unwrap().to_canonical()), "{ip}");
        }
    }

    #[test]
    fn a_name_counts_by_every_address_that_it_has() {
        let aim = |text: &str| Aim::of(&text.parse().unwrap()).unwrap();
        let at = |ips: &[&str]| -> Vec<SocketAddr> {
            ips.iter().map(|it| SocketAddr::new(it.parse().unwrap(), 80)).collect()
        };
        let walls = Walls { reach: Reach::Public, local: vec!["http://intern".parse().unwrap()] };
        let public = aim("http://example.com/");
        assert!(walls.allow(&public, &at(&["8.8.8.8", "8.8.4.4"])));
        assert!(!walls.allow(&public, &at(&["8.8.8.8", "127.0.0.1"])), "a name bound anew");
        assert!(!walls.allow(&public, &[]));
        assert!(walls.allow(&aim("http://intern/"), &at(&["10.0.0.7"])));
        assert!(!walls.allow(&aim("http://intern:81/"), &at(&["10.0.0.7"])));
        let none = Walls { reach: Reach::None, ..walls };
        assert!(!none.allow(&public, &at(&["8.8.8.8"])));
        assert!(!none.allow(&aim("http://intern/"), &at(&["10.0.0.7"])));
    }
}
