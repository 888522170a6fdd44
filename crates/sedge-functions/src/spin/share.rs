//! What a function has from the application that it is a part of.

use std::collections::{BTreeMap, BTreeSet};

use sedge_capability::{Descriptor, Kind};
use serde::{Deserialize, Serialize};

use super::Route;
use crate::redis::Channel;

/// The label of a function that names its application.
const APP: &str = "app";
/// The label of a function that has its routes, a JSON list.
const ROUTES: &str = "routes";

/// The most channels of one function.
const MOST_CHANNELS: usize = 16;
/// The longest name of a channel, in bytes.
const MOST_CHANNEL: usize = 1024;

/// What a function has from the application that it is a part of: its paths, and what it may ask the host for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Share {
    /// The application's name; the function's own begins with it and a dot.
    pub app: String,
    /// The paths that it answers.
    pub routes: Vec<Route>,
    /// Variables that it can ask for.
    pub variables: BTreeMap<String, String>,
    /// The labels of key-value stores that it may open.
    pub key_value_stores: BTreeSet<String>,
    /// The labels of SQLite databases that it may open.
    pub sqlite_databases: BTreeSet<String>,
    /// The channels whose messages call it; their addresses may have passwords, and the swarm is not told of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
}

impl Share {
    /// Returns whether a function of this name can be a part of the application, and what it asks for can be had.
    pub(crate) fn fits(&self, function: &str) -> bool {
        let part = function.strip_prefix(&self.app).and_then(|it| it.strip_prefix('.'));
        let labels = self.key_value_stores.iter().chain(&self.sqlite_databases);
        part.is_some_and(|it| !it.is_empty() && !it.contains('.'))
            && is_label(&self.app)
            && labels.clone().count() <= 64
            && self.channels.len() <= MOST_CHANNELS
            && self.channels.iter().all(|it| it.channel.len() <= MOST_CHANNEL)
            && labels.clone().all(|it| is_label(it))
    }

    /// Returns what the swarm is told about the function.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let routes: Vec<String> = self.routes.iter().map(Route::to_string).collect();
        let routes = serde_json::Value::from(routes).to_string();
        BTreeMap::from([(APP.to_owned(), self.app.clone()), (ROUTES.to_owned(), routes)])
    }
}

/// Returns whether a text can name an application, one of its components, or something that it keeps: 1 to 60
/// letters, digits and `_-`, a letter or digit first.
pub(super) fn is_label(text: &str) -> bool {
    let sound = text.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it));
    sound && text.len() <= 60 && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// Returns the application that a function is a part of, and the paths that it answers there; `None` for a function
/// that stands alone. What a member says wrongly of its functions routes nothing to them.
pub fn share_of(descriptor: &Descriptor) -> Option<(&str, Vec<Route>)> {
    let label = |key: &str| descriptor.labels.get(key).map(String::as_str);
    let app = label(APP).filter(|_| descriptor.kind == Kind::Function)?;
    let own = descriptor.name.as_str().strip_prefix(app).is_some_and(|it| it.starts_with('.'));
    let routes = label(ROUTES).and_then(|it| serde_json::from_str(it).ok());
    own.then(|| (app, routes.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_belongs_to_the_application_of_its_name() {
        let share = Share { app: "shop".to_owned(), ..Share::default() };
        assert!(share.fits("shop.cart"));
        for other in ["shop", "shop.", "shop.a.b", "shopper.cart", "club.cart"] {
            assert!(!share.fits(other), "{other}");
        }
        let escaping = BTreeSet::from(["../x".to_owned()]);
        assert!(!Share { sqlite_databases: escaping, ..share }.fits("shop.cart"));
        assert!(!Share { app: "../x".to_owned(), ..Share::default() }.fits("../x.cart"));
    }
}
