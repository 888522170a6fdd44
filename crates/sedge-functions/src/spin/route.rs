//! Routes of HTTP triggers: which component a path belongs to, and what it is told about that.

use std::fmt;
use std::str::FromStr;

use sedge_base::ErrorKind;
use serde::{Deserialize, Serialize};

/// The longest route, in bytes.
const MOST_ROUTE: usize = 1024;

/// Why a text is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no route such as /hello, /users/:id or /files/...")]
pub struct RouteError {
    /// The text, cut.
    text: String,
}

impl RouteError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A path that a component answers: exact, with `:named` segments, or with everything below it (`/...`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Route {
    /// As it is written.
    raw: String,
    segments: Vec<Segment>,
    below: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Exact(String),
    Named(String),
}

/// What a route has found in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// What the wildcard took.
    pub rest: String,
    /// The named segments, in order.
    pub named: Vec<(String, String)>,
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let wrong = || RouteError { text: text.chars().take(80).collect() };
        if text.len() > MOST_ROUTE
            || text.contains(|it: char| it.is_whitespace() || it.is_control())
        {
            return Err(wrong());
        }
        let path = text.strip_prefix('/').ok_or_else(wrong)?;
        let (path, below) = match ["...", "*"].into_iter().find_map(|it| path.strip_suffix(it)) {
            Some("") => ("", true),
            Some(path) => (path.strip_suffix('/').ok_or_else(wrong)?, true),
            None => (path.strip_suffix('/').unwrap_or(path), false),
        };
        let parts = path.split('/').filter(|_| !path.is_empty());
        let segments = parts.map(|it| match it.strip_prefix(':') {
            Some(name) if is_name(name) => Ok(Segment::Named(name.to_owned())),
            Some(_) => Err(wrong()),
            None if it.contains('*') || it == "..." => Err(wrong()),
            None => Ok(Segment::Exact(it.to_owned())),
        });
        Ok(Self { raw: text.to_owned(), segments: segments.collect::<Result<_, _>>()?, below })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it))
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl TryFrom<String> for Route {
    type Error = RouteError;

    fn try_from(text: String) -> Result<Self, RouteError> {
        text.parse()
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        route.raw
    }
}

impl Route {
    /// Returns the route without its wildcard.
    pub fn without_wildcard(&self) -> &str {
        ["/...", "/*"].into_iter().find_map(|it| self.raw.strip_suffix(it)).unwrap_or(&self.raw)
    }

    /// Returns what the route finds in a path, if the path is its own; a slash at the end of a path
    /// makes no difference to a route without a wildcard.
    pub fn find(&self, path: &str) -> Option<Match> {
        let mut rest = path;
        let mut named = Vec::new();
        for segment in &self.segments {
            let after = rest.strip_prefix('/')?;
            let end = after.find('/').unwrap_or(after.len());
            let (part, left) = after.split_at(end);
            match segment {
                Segment::Exact(text) if text == part => {}
                Segment::Named(name) if !part.is_empty() => {
                    named.push((name.clone(), part.to_owned()));
                }
                Segment::Exact(_) | Segment::Named(_) => return None,
            }
            rest = left;
        }
        if self.below {
            return Some(Match { rest: rest.to_owned(), named });
        }
        matches!(rest, "" | "/").then(|| Match { rest: String::new(), named })
    }

    /// Returns how closely the route says what it means: more exact segments first, then more segments,
    /// then no wildcard.
    fn closeness(&self) -> (bool, Vec<bool>, bool) {
        let exact: Vec<bool> =
            self.segments.iter().map(|it| matches!(it, Segment::Exact(_))).collect();
        (!self.below && exact.iter().all(|it| *it), exact, !self.below)
    }
}

/// Returns the route that a path belongs to: an exact one before a pattern, then the one that says more;
/// of equal ones the last.
pub fn pick<'a, T>(
    routes: impl IntoIterator<Item = (&'a Route, T)>,
    path: &str,
) -> Option<(&'a Route, T, Match)> {
    let found = routes.into_iter().filter_map(|(route, it)| Some((route, it, route.find(path)?)));
    found.max_by_key(|(route, ..)| route.closeness())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(text: &str) -> Route {
        text.parse().unwrap()
    }

    #[track_caller]
    fn rest(text: &str, path: &str, expected: Option<&str>) {
        let found = route(text).find(path).map(|it| it.rest);
        assert_eq!(found.as_deref(), expected, "{text} {path}");
    }

    #[test]
    fn a_wildcard_takes_everything_below() {
        rest("/a/...", "/a", Some(""));
        rest("/a/...", "/a/", Some("/"));
        rest("/a/...", "/a/b/c", Some("/b/c"));
        rest("/a/*", "/a/b", Some("/b"));
        rest("/a/...", "/ab", None);
        rest("/...", "/", Some("/"));
        rest("/...", "/x", Some("/x"));
    }

    #[test]
    fn without_one_the_whole_path_counts() {
        rest("/a", "/a", Some(""));
        rest("/a", "/a/", Some(""));
        rest("/a/", "/a", Some(""));
        rest("/a", "/a/b", None);
        rest("/", "/", Some(""));
        rest("/", "/a", None);
    }

    #[test]
    fn named_segments_are_told() {
        let found = route("/u/:name/:key/...").find("/u/ann/7/x").unwrap();
        let named = [("name", "ann"), ("key", "7")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(found, Match { rest: "/x".to_owned(), named: named.into() });
        assert_eq!(route("/u/:name").find("/u/"), None);
    }

    #[test]
    fn the_closest_route_is_picked() {
        let routes = ["/...", "/a/...", "/a/b", "/a/:x", "/a/b/...", "/a/b"].map(route);
        for (path, expected) in
            [("/x", 0), ("/a/c/d", 1), ("/a/b", 5), ("/a/c", 3), ("/a/b/c", 4), ("/a", 1)]
        {
            let numbered = routes.iter().enumerate().map(|(at, it)| (it, at));
            assert_eq!(pick(numbered, path).unwrap().1, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for text in ["", "a", "/a...", "/.../a", "/a/*/b", "/:", "/:a b", "/a b", "/a\x1b[2J"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_matched_in_peace(text in ".{0,40}", path in ".{0,40}") {
            if let Ok(route) = text.parse::<Route>() {
                drop(route.find(&path));
                prop_assert_eq!(route.to_string(), text);
            }
        }
    }
}
