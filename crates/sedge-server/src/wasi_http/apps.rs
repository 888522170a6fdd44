//! Applications of several components behind one name: which of them answers, and what it is told.

use std::net::SocketAddr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use sedge_base::ErrorKind;
use sedge_capability::{Descriptor, Failure, Name};
use sedge_functions::{Route, pick, share_of};
use sedge_node::Node;

/// What the fields begin with that only a host of applications may set.
const THEIRS: &str = "spin-";
/// Where the host itself says that an application is there.
pub(super) const HEALTH: &str = "/.well-known/spin/health";

/// A path of an application, and the function that answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppRoute {
    route: Route,
    component: Name,
}

/// Returns the routes of an application, wherever in the swarm its components are; `None` when there is no such
/// application, or when a function of that very name is there, which is meant then.
pub(super) fn routes(node: &Node, app: &str) -> Option<Vec<AppRoute>> {
    let ours = |it: &Descriptor| share_of(it).is_some_and(|it| it.0 == app);
    let offers = node.offers_where(|it| it.name.as_str() == app || ours(it));
    if offers.is_empty() || offers.iter().any(|it| it.descriptor.name.as_str() == app) {
        return None;
    }
    let mut routes: Vec<AppRoute> = Vec::new();
    // This node's own word on a component before another's.
    let me = node.id();
    let (ours, theirs): (Vec<_>, Vec<_>) = offers.iter().partition(|it| it.node == me);
    for offer in ours.into_iter().chain(theirs) {
        let component = &offer.descriptor.name;
        if routes.iter().any(|it| it.component == *component) {
            continue;
        }
        let (_, list) = share_of(&offer.descriptor)?;
        routes
            .extend(list.into_iter().map(|route| AppRoute { route, component: component.clone() }));
    }
    Some(routes)
}

/// Finds the component that a request is for, and adds what applications are told: the fields of Spin's
/// HTTP trigger, with the client's address and whether it speaks TLS. `parts` has the address below the application's name, as the client wrote it.
pub(super) fn choose(
    routes: &[AppRoute],
    parts: &mut Parts,
    (client, tls): (Option<SocketAddr>, bool),
) -> Result<Name, Failure> {
    let path = parts.uri.path().to_owned();
    let known = routes.iter().map(|it| (&it.route, &it.component));
    let Some((route, component, found)) = pick(known, &path) else {
        let text = format!("the application has no route for {path}");
        return Err(Failure::new(ErrorKind::NotFound, "no_route", text));
    };
    let theirs = parts.headers.keys().filter(|it| it.as_str().starts_with(THEIRS));
    for name in theirs.cloned().collect::<Vec<HeaderName>>() {
        parts.headers.remove(name);
    }
    let client = client.map_or_else(String::new, |it| it.to_string());
    let told = [
        ("spin-path-info", found.rest),
        ("spin-full-url", full_url(&parts.headers, &parts.uri, tls)),
        ("spin-matched-route", route.to_string()),
        ("spin-base-path", "/".to_owned()),
        ("spin-raw-component-route", route.to_string()),
        ("spin-component-route", route.without_wildcard().to_owned()),
        ("spin-client-addr", client),
    ];
    let told = told.into_iter().map(|(name, value)| (name.to_owned(), value));
    let named = found
        .named
        .into_iter()
        .map(|(name, value)| (format!("spin-path-match-{}", name.to_ascii_lowercase()), value));
    for (name, value) in told.chain(named) {
        let wrong = || Failure::new(ErrorKind::Invalid, "bad_address", "the address is wrong");
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        parts.headers.insert(name, value);
    }
    Ok(component.clone())
}

/// Returns the address as the application sees it: its own paths begin at the root.
fn full_url(headers: &HeaderMap, uri: &Uri, tls: bool) -> String {
    let host = headers.get("host").and_then(|it| it.to_str().ok()).unwrap_or("localhost");
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn routes(list: &[(&str, &str)]) -> Vec<AppRoute> {
        let route = |(route, component): &(&str, &str)| AppRoute {
            route: route.parse().unwrap(),
            component: component.parse().unwrap(),
        };
        list.iter().map(route).collect()
    }

    #[test]
    fn the_component_of_the_closest_route_is_told_eight_things() {
        let routes = routes(&[("/...", "shop.page"), ("/u/:Name/...", "shop.user")]);
        let request = Request::get("/u/ann/x/y?a=b")
            .header("host", "127.0.0.1:7411")
            .header("spin-path-info", "forged")
            .header("spin-own", "forged");
        let mut parts = request.body(()).unwrap().into_parts().0;
        let client = "127.0.0.1:5".parse().unwrap();
        let chosen = choose(&routes, &mut parts, (Some(client), true)).unwrap();
        assert_eq!(chosen.as_str(), "shop.user");
        parts.headers.remove("host");
        let mut told: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                "spin-base-path: /",
                "spin-client-addr: 127.0.0.1:5",
                "spin-component-route: /u/:Name",
                "spin-full-url: https://127.0.0.1:7411/u/ann/x/y?a=b",
                "spin-matched-route: /u/:Name/...",
                "spin-path-info: /x/y",
                "spin-path-match-name: ann",
                "spin-raw-component-route: /u/:Name/...",
            ]
        );
    }

    #[test]
    fn a_path_without_a_route_is_told_so() {
        let mut parts = Request::get("/b").body(()).unwrap().into_parts().0;
        let refused =
            choose(&routes(&[("/a", "shop.page")]), &mut parts, (None, false)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::NotFound);
    }
}
