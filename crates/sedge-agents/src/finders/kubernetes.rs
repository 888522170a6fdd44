//! A headless service of a Kubernetes cluster, by the cluster's own name server.
//!
//! A headless service has one SRV record for each ready pod behind it, by the name of its port
//! (Kubernetes DNS specification 1.1, section 2.4.2). Its selector says which pods are agents, such
//! as `edge-ai.io/type: agent`. No key of the cluster is needed.

use super::{FindError, SERVICE, dns};
use crate::candidate::Candidate;
use crate::discover::Options;

pub(super) async fn find(service: &str, options: &Options) -> Result<Vec<Candidate>, FindError> {
    dns::find(&name(service, options)?, "kubernetes", options).await
}

/// Returns the whole name of `SERVICE` or `SERVICE.NAMESPACE`.
fn name(service: &str, options: &Options) -> Result<String, FindError> {
    let (name, namespace) = service.split_once('.').unwrap_or((service, &options.namespace));
    let label = |it: &str| {
        let allowed = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
        (1..=63).contains(&it.len()) && it.bytes().all(allowed)
    };
    if label(name) && label(namespace) {
        Ok(format!("{SERVICE}.{name}.{namespace}.svc.{}", options.cluster_domain))
    } else {
        Err(FindError::Name { name: service.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_cluster() {
        let options = Options { namespace: "home".to_owned(), ..Options::default() };
        let of = |it| name(it, &options).ok();
        assert_eq!(of("agents").unwrap(), "_a2a._tcp.agents.home.svc.cluster.local");
        assert_eq!(of("agents.lab").unwrap(), "_a2a._tcp.agents.lab.svc.cluster.local");
        for bad in ["", ".", "a.b.c", "a b", "a."] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
