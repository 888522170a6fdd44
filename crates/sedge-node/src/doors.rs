//! `[server]`: where other machines' programs find the doors, as written and as checked.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::config::ConfigError;

/// The most names in the certificate, and the most pages.
const MAX_ENTRIES: usize = 32;

/// `[server]`, as written in the node's config file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSection {
    /// Whether the API on loopback speaks TLS, too; plain HTTP when false.
    pub tls: bool,
    /// Where the doors listen for other machines, TLS always; nowhere when it is left out.
    pub listen: Option<SocketAddr>,
    /// By which names and addresses other machines reach this one, for its certificate.
    pub names: Vec<String>,
    /// Pages of other sites that may use the doors, such as `https://example.org`.
    pub origins: Vec<String>,
}

/// `[server]`, as checked.
#[derive(Debug, Clone, Default)]
pub struct ServerConfig {
    /// Whether the API on loopback speaks TLS, too.
    pub tls: bool,
    /// Where the doors listen for other machines; TLS always.
    pub listen: Option<SocketAddr>,
    /// Names and addresses for the certificate: ASCII, at most 32 of at most 253 bytes.
    pub names: Vec<String>,
    /// Pages of other sites that may use the doors: at most 32, scheme and host, no path.
    pub origins: Vec<String>,
}

impl TryFrom<ServerSection> for ServerConfig {
    type Error = ConfigError;

    fn try_from(section: ServerSection) -> Result<Self, ConfigError> {
        let ServerSection { tls, listen, names, origins } = section;
        let value = |key, must_be: &str| ConfigError::Value { key, must_be: must_be.to_owned() };
        let is_name = |it: &String| {
            let allowed = |it: u8| it.is_ascii_alphanumeric() || b".-:".contains(&it);
            (1..=253).contains(&it.len()) && it.bytes().all(allowed)
        };
        if names.len() > MAX_ENTRIES || !names.iter().all(is_name) {
            return Err(value("server.names", "at most 32 names or addresses"));
        }
        if origins.len() > MAX_ENTRIES || !origins.iter().all(|it| is_origin(it)) {
            let must_be = "at most 32 of the form `https://host` or `https://host:port`";
            return Err(value("server.origins", must_be));
        }
        Ok(Self { tls, listen, names, origins })
    }
}

/// Returns whether a text is an origin as browsers send it.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b".-:[]".contains(&it);
    host.is_some_and(|it| (1..=253).contains(&it.len()) && it.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let section: ServerSection = toml::from_str(text).unwrap();
        let got = ServerConfig::try_from(section).map(drop).map_err(|it| it.to_string());
        match (got, expected) {
            (Err(got), Err(key)) => assert!(got.contains(key), "{got}"),
            (got, expected) => assert_eq!(got, expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn what_is_no_name_or_origin_is_named() {
        check("", Ok(()));
        check("listen = '0.0.0.0:7379'\nnames = ['box.lan', '::1', '10.0.0.1']", Ok(()));
        check("origins = ['https://example.org', 'http://[::1]:80']", Ok(()));
        check("names = ['a b']", Err("server.names"));
        for bad in ["*", "null", "example.org", "https://", "https://Example.org", "https://a/b"] {
            check(&format!("origins = ['{bad}']"), Err("server.origins"));
        }
    }
}
