//! An application as checked: components, their routes, and what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use bytes::Bytes;
use sedge_base::ErrorKind;
use serde::Deserialize as _;

use super::imports::unsupported;
use super::manifest::{
    Component, CronTrigger, HttpTrigger, Manifest, RedisTrigger, Source, StaticResponse,
};
use super::share::{Share, is_label};
use super::template::{fill, is_variable};
use super::{Route, RouteError};
use crate::outbound::{Outbound, Place};
use crate::redis::{Address, AddressError, Channel};

/// The largest manifest, in bytes.
const MOST_MANIFEST: usize = 256 << 10;
/// The most components of one application, fixed answers among them.
const MOST_COMPONENTS: usize = 64;
/// The most reasons that are told at once.
const MOST_REASONS: usize = 100;
/// The component that gives fixed answers; what it says are its variables.
const FIXED: &[u8] = include_bytes!("../../../../functions/fixed.wasm");

/// An application that can be deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: String,
    /// Its components, by name.
    pub parts: Vec<Part>,
}

/// One component of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name of its function, which begins with the application's.
    pub function: String,
    /// The component.
    pub wasm: Bytes,
    /// Environment that it sees.
    pub environment: BTreeMap<String, String>,
    /// Where it may send requests.
    pub outbound: Outbound,
    /// What it has from the application.
    pub share: Share,
    /// Cron expressions that say when it is called.
    pub crons: Vec<String>,
}

/// Why there is no application that can be deployed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The file is no manifest.
    #[error("this is no manifest of version 2: {reason}")]
    Manifest {
        /// What the reader met.
        reason: String,
    },
    /// It asks for what cannot be had here; all of it is named.
    #[error("the application cannot be deployed: {}", .reasons.join("; "))]
    Unsupported {
        /// What, each in words.
        reasons: Vec<String>,
    },
}

impl AppError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Manifest { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }
}

/// What somebody gives who deploys an application.
pub struct Given<'a> {
    /// The name that the application gets in place of its own.
    pub name: Option<&'a str>,
    /// Values of its variables.
    pub variables: &'a BTreeMap<String, String>,
    /// Reads a component's file, whose path is seen from the manifest.
    pub files: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Says what is wrong with a cron expression.
    pub cron: &'a dyn Fn(&str) -> Result<(), String>,
}

impl std::fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("name", &self.name).finish_non_exhaustive()
    }
}

impl App {
    /// Reads a manifest and the components that it names.
    ///
    /// # Errors
    ///
    /// [`AppError`], which names everything that is wrong or missing, not the first of it alone.
    pub fn read(text: &str, given: &Given<'_>) -> Result<Self, AppError> {
        let wrong = |reason: String| AppError::Manifest { reason };
        if text.len() > MOST_MANIFEST {
            return Err(wrong(format!("it has more than {MOST_MANIFEST} bytes")));
        }
        let manifest: Manifest =
            toml::from_str(text).map_err(|it| wrong(it.message().to_owned()))?;
        if manifest.spin_manifest_version != 2 {
            return Err(wrong("`spin_manifest_version` is not 2".to_owned()));
        }
        let name = given.name.unwrap_or(&manifest.application.name).to_owned();
        let mut check = Check { given, app: &name, reasons: Vec::new(), parts: Vec::new() };
        let variables = check.variables(&manifest);
        check.application(&manifest);
        let mut routes = check.routes(&manifest);
        let mut crons = check.crons(&manifest);
        let mut channels = check.channels(&manifest, &variables);
        for (component, written) in manifest.component {
            let called = Called {
                routes: routes.remove(&component).unwrap_or_default(),
                crons: crons.remove(&component).unwrap_or_default(),
                channels: channels.remove(&component).unwrap_or_default(),
            };
            match called.sorts() {
                0 => check.no(format!("component `{component}` has no trigger")),
                1 => check.component(&component, written, called, &variables),
                _ => check.no(format!(
                    "component `{component}` has triggers of several sorts; it can have one"
                )),
            }
        }
        let Check { mut reasons, parts, .. } = check;
        reasons.truncate(MOST_REASONS);
        if !reasons.is_empty() {
            return Err(AppError::Unsupported { reasons });
        }
        Ok(Self { name, parts })
    }
}

/// What calls a component.
struct Called {
    routes: Vec<Route>,
    crons: Vec<String>,
    channels: Vec<Channel>,
}

impl Called {
    fn sorts(&self) -> usize {
        let Self { routes, crons, channels } = self;
        let sorts = [!routes.is_empty(), !crons.is_empty(), !channels.is_empty()];
        sorts.into_iter().filter(|it| *it).count()
    }
}

/// What was found so far.
struct Check<'a> {
    given: &'a Given<'a>,
    app: &'a str,
    reasons: Vec<String>,
    parts: Vec<Part>,
}

impl Check<'_> {
    fn no(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    fn application(&mut self, manifest: &Manifest) {
        for name in manifest.component.keys().map(String::as_str).chain([self.app]) {
            if !is_label(name) {
                self.no(format!("`{name}` is no name of 1 to 60 letters, digits or _-"));
            }
        }
        let triggers = manifest.trigger.values().map(Vec::len).sum::<usize>();
        if manifest.component.len() > MOST_COMPONENTS || triggers > 4 * MOST_COMPONENTS {
            self.no(format!("it has more than {MOST_COMPONENTS} components"));
        }
        if manifest.component.is_empty() && triggers == 0 {
            self.no("it has no component".to_owned());
        }
        if !manifest.profile.is_empty() {
            self.no("profiles are not known here".to_owned());
        }
        for (trigger, settings) in &manifest.application.trigger {
            let known = |(key, value): (&String, &toml::Value)| match trigger.as_str() {
                "http" => key == "base" && value.as_str() == Some("/"),
                "redis" => key == "address" && value.is_str(),
                _ => false,
            };
            if !matches!(&**trigger, "http" | "redis") || !settings.iter().all(known) {
                self.no(format!("settings of `application.trigger.{trigger}` are not known here"));
            }
        }
    }

    /// Returns the value of each variable.
    fn variables(&mut self, manifest: &Manifest) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        let given = self.given.variables;
        for (name, variable) in &manifest.variables {
            if !is_variable(name) {
                self.no(format!("`{name}` is no name of a variable"));
            } else if variable.required == variable.default.is_some() {
                self.no(format!(
                    "the variable `{name}` needs a default, or `required = true`, not both"
                ));
            } else if let Some(value) = given.get(name).or(variable.default.as_ref()) {
                values.insert(name.clone(), value.clone());
            } else {
                self.no(format!("the variable `{name}` needs a value: --variable {name}=VALUE"));
            }
        }
        for name in given.keys().filter(|it| !manifest.variables.contains_key(*it)) {
            self.no(format!("the application has no variable `{name}`"));
        }
        values
    }

    /// Returns the routes of each component.
    fn routes(&mut self, manifest: &Manifest) -> BTreeMap<String, Vec<Route>> {
        let mut routes: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (sort, triggers) in &manifest.trigger {
            match sort.as_str() {
                "http" => {}
                "cron" | "redis" => continue,
                _ => {
                    self.no(format!("triggers of the sort `{sort}` are not known here"));
                    continue;
                }
            }
            for trigger in triggers {
                let read = HttpTrigger::deserialize(trigger.clone());
                let read = read
                    .map_err(|it: toml::de::Error| format!("a trigger is wrong: {}", it.message()));
                let found = read.and_then(|it| self.trigger(it, manifest));
                match found {
                    Ok((_, route)) if !seen.insert(route.to_string()) => {
                        self.no(format!("two triggers have the route {route}"));
                    }
                    Ok((Some(component), route)) => {
                        routes.entry(component).or_default().push(route);
                    }
                    Ok((None, _)) => {}
                    Err(reason) => self.no(reason),
                }
            }
        }
        routes
    }

    /// Returns the cron expressions of each component.
    fn crons(&mut self, manifest: &Manifest) -> BTreeMap<String, Vec<String>> {
        let mut crons: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for trigger in manifest.trigger.get("cron").into_iter().flatten() {
            let read = CronTrigger::deserialize(trigger.clone());
            let CronTrigger { component, cron_expression: cron, .. } = match read {
                Ok(trigger) => trigger,
                Err(error) => {
                    self.no(format!("a cron trigger is wrong: {}", error.message()));
                    continue;
                }
            };
            if let Err(reason) = (self.given.cron)(&cron) {
                self.no(format!("cron trigger `{cron}`: {reason}"));
            }
            if manifest.component.contains_key(&component) {
                crons.entry(component).or_default().push(cron);
            } else {
                self.no(format!("cron trigger `{cron}`: there is no component `{component}`"));
            }
        }
        crons
    }

    /// Returns the channels that each component hears.
    fn channels(
        &mut self,
        manifest: &Manifest,
        known: &BTreeMap<String, String>,
    ) -> BTreeMap<String, Vec<Channel>> {
        let mut channels: BTreeMap<String, Vec<Channel>> = BTreeMap::new();
        let usual = manifest.application.trigger.get("redis");
        let usual = usual.and_then(|it| it.get("address")).and_then(toml::Value::as_str);
        for trigger in manifest.trigger.get("redis").into_iter().flatten() {
            let read = RedisTrigger::deserialize(trigger.clone());
            let RedisTrigger { component, channel, address, .. } = match read {
                Ok(trigger) => trigger,
                Err(error) => {
                    self.no(format!("a redis trigger is wrong: {}", error.message()));
                    continue;
                }
            };
            // The address, which may have a password, is in no message.
            let heard = || -> Result<Channel, String> {
                let address = address.as_deref().or(usual).ok_or("it has no address")?;
                let address = fill(address, known).map_err(|_| "its address lacks a variable")?;
                let address: Address =
                    address.parse().map_err(|it: AddressError| it.to_string())?;
                Ok(Channel { address, channel: fill(&channel, known)? })
            };
            match heard() {
                Err(reason) => self.no(format!("redis trigger `{channel}`: {reason}")),
                Ok(heard) if manifest.component.contains_key(&component) => {
                    channels.entry(component).or_default().push(heard);
                }
                Ok(_) => {
                    self.no(format!(
                        "redis trigger `{channel}`: there is no component `{component}`"
                    ));
                }
            }
        }
        channels
    }

    /// Returns the component of a trigger, if it has one, and its route.
    fn trigger(
        &mut self,
        trigger: HttpTrigger,
        manifest: &Manifest,
    ) -> Result<(Option<String>, Route), String> {
        let Some(route) = trigger.route.as_str() else {
            return Err("private routes are not known here".to_owned());
        };
        let route: Route = route.parse().map_err(|it: RouteError| it.to_string())?;
        if route.to_string().starts_with("/.well-known/spin") {
            return Err(format!("the route {route} is the host's"));
        }
        if trigger.components.is_some() || trigger.dependencies.is_some() {
            return Err(format!("route {route}: middleware is not known here"));
        }
        let usual = |(key, value): (&String, &toml::Value)| {
            key == "type" && matches!(value.as_str(), Some("http" | "spin"))
        };
        if trigger.executor.is_some_and(|it| !it.iter().all(usual)) {
            return Err(format!("route {route}: only the executor `http` is known here"));
        }
        match (trigger.component, trigger.static_response) {
            (None, Some(answer)) => self.fixed(&route, answer).map(|()| (None, route)),
            (Some(toml::Value::String(it)), None) if manifest.component.contains_key(&it) => {
                Ok((Some(it), route))
            }
            (Some(toml::Value::String(it)), None) => {
                Err(format!("route {route}: there is no component of that name, `{it}`"))
            }
            (Some(_), None) => {
                Err(format!("route {route}: a component within a trigger is not known here"))
            }
            (Some(_), Some(_)) | (None, None) => {
                Err(format!("route {route} needs a component or a fixed answer, not both"))
            }
        }
    }

    /// Adds a component that gives a fixed answer.
    fn fixed(&mut self, route: &Route, answer: StaticResponse) -> Result<(), String> {
        let StaticResponse { status_code, headers, body } = answer;
        let status = status_code.unwrap_or(200);
        let sound = |(name, value): (&String, &String)| {
            hyper::header::HeaderName::try_from(name).is_ok()
                && hyper::header::HeaderValue::try_from(value).is_ok()
        };
        if !(200..=599).contains(&status) || !headers.iter().all(sound) {
            return Err(format!("route {route}: the fixed answer is no HTTP response"));
        }
        let headers: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let told =
            [("status", status.to_string()), ("headers", headers.join("\n")), ("body", body)];
        let variables = told.map(|(name, value)| (name.to_owned(), value)).into();
        // No component of a manifest has a colon in its name.
        let name = format!("{}.fixed:{}", self.app, self.parts.len());
        let share = self.share(vec![route.clone()], variables);
        let (environment, outbound) = Default::default();
        let wasm = Bytes::from_static(FIXED);
        self.parts.push(Part {
            function: name,
            wasm,
            environment,
            outbound,
            share,
            crons: Vec::new(),
        });
        Ok(())
    }

    fn share(&self, routes: Vec<Route>, variables: BTreeMap<String, String>) -> Share {
        Share { app: self.app.to_owned(), routes, variables, ..Share::default() }
    }

    fn component(
        &mut self,
        name: &str,
        component: Component,
        Called { routes, crons, channels }: Called,
        known: &BTreeMap<String, String>,
    ) {
        let before = self.reasons.len();
        for (has, what) in [
            (!component.files.is_empty(), "files"),
            (!component.ai_models.is_empty(), "models"),
            (!component.dependencies.is_empty(), "dependencies"),
            (!component.profile.is_empty(), "profiles"),
            (!component.allowed_http_hosts.is_empty(), "`allowed_http_hosts`"),
        ] {
            if has {
                self.no(format!("component `{name}`: {what} cannot be had here"));
            }
        }
        let mut variables = BTreeMap::new();
        for (key, text) in &component.variables {
            match fill(text, known) {
                Ok(value) if is_variable(key) => drop(variables.insert(key.clone(), value)),
                Ok(_) => self.no(format!("component `{name}`: `{key}` is no name of a variable")),
                Err(reason) => self.no(format!("component `{name}`: {reason}")),
            }
        }
        let mut outbound = Outbound::default();
        for host in &component.allowed_outbound_hosts {
            match fill(host, known).and_then(|it| place(&it)) {
                Ok(place) => outbound.places.push(place),
                Err(reason) => self.no(format!("component `{name}`: {reason}")),
            }
        }
        let stores = component.key_value_stores.iter();
        for label in stores.chain(&component.sqlite_databases).filter(|it| !is_label(it)) {
            self.no(format!(
                "component `{name}`: `{label}` is no name of 1 to 60 letters, digits or _-"
            ));
        }
        let wasm = self.file(name, &component.source);
        let mut share = self.share(routes, variables);
        share.key_value_stores.extend(component.key_value_stores);
        share.sqlite_databases.extend(component.sqlite_databases);
        share.channels = channels;
        if self.reasons.len() == before {
            let (function, environment) = (format!("{}.{name}", self.app), component.environment);
            self.parts.push(Part { function, wasm, environment, outbound, share, crons });
        }
    }

    /// Reads a component and looks at what it imports.
    fn file(&mut self, name: &str, source: &Source) -> Bytes {
        let Source::File(path) = source else {
            self.no(format!("component `{name}`: its source must be a file"));
            return Bytes::new();
        };
        let wasm = match (self.given.files)(path) {
            Ok(wasm) => wasm,
            Err(err) => {
                self.no(format!("component `{name}`: cannot read {}: {err}", path.display()));
                return Bytes::new();
            }
        };
        for import in unsupported(&wasm).unwrap_or_default() {
            self.no(format!(
                "component `{name}` imports `{import}`, which functions cannot have here"
            ));
        }
        wasm.into()
    }
}

/// Returns the place that an outbound host means.
fn place(host: &str) -> Result<Place, String> {
    let wrong = || format!("the outbound host `{host}` cannot be had here");
    let name = host.split_once("://").map_or("", |it| it.1);
    let name = name.split([':', '/']).next().unwrap_or_default();
    // What is the host itself or another component of the application is no place.
    if name == "self" || name.ends_with(".spin.internal") {
        return Err(wrong());
    }
    host.parse().map_err(|_| wrong())
}

/// Feeds a manifest to its reader; returns whether it is an application.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let files = |_: &Path| Ok(Vec::new());
    let given = Given { name: None, variables: &BTreeMap::new(), files: &files, cron: &|_| Ok(()) };
    std::str::from_utf8(bytes).is_ok_and(|it| App::read(it, &given).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOUND: &str = r#"
spin_manifest_version = 2
[application]
name = "shop"
version = "1.0.0"
[variables]
host = { default = "example.com" }
token = { required = true, secret = true }
[[trigger.http]]
route = "/cart/..."
component = "cart"
[[trigger.http]]
route = "/old"
static_response = { status_code = 301, headers = { location = "/cart/" } }
[component.cart]
source = "cart.wasm"
key_value_stores = ["default"]
environment = { MODE = "test" }
allowed_outbound_hosts = ["https://api.{{ host }}"]
[component.cart.variables]
key = "k-{{ token }}"
[component.cart.build]
command = "make"
"#;

    fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<App, String> {
        let variables = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let files = |path: &Path| match path.to_str() {
            Some("gone.wasm") => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(b"wasm".to_vec()),
        };
        let given = Given { name: None, variables: &variables, files: &files, cron: &|_| Ok(()) };
        App::read(text, &given).map_err(|it| it.to_string())
    }

    fn read(text: &str) -> Result<App, String> {
        read_with(text, &[("token", "7")])
    }

    #[test]
    fn a_sound_manifest_is_read() {
        let app = read(SOUND).unwrap();
        let [fixed, cart] = &app.parts[..] else { panic!("{app:?}") };
        assert_eq!(app.name, "shop");
        assert_eq!((&*cart.function, &*cart.wasm), ("shop.cart", &b"wasm"[..]));
        assert_eq!(cart.share.routes, ["/cart/...".parse().unwrap()]);
        assert_eq!(cart.environment["MODE"], "test");
        assert_eq!(cart.share.variables["key"], "k-7");
        assert_eq!(cart.share.key_value_stores, BTreeSet::from(["default".to_owned()]));
        assert_eq!(fixed.share.routes, ["/old".parse().unwrap()]);
        assert_eq!(fixed.share.variables["headers"], "location: /cart/");
        assert!(app.parts.iter().all(|it| it.share.fits(&it.function)));
        assert_eq!(cart.outbound.places, ["https://api.example.com".parse().unwrap()]);
    }

    #[test]
    fn everything_that_cannot_be_had_is_named_at_once() {
        let text = SOUND
            .replace("source = \"cart.wasm\"", "source = { url = \"https://a\", digest = \"b\" }")
            .replace(
                "[component.cart.build]",
                "[component.idle]\nsource = \"a\"\n[component.cart.build]",
            )
            .replace("https://api.{{ host }}", "mysql://*:*")
            .replace("k-{{ token }}", "{{ nobody }}")
            .replace(
                "environment =",
                "files = [\"a\"]\nsqlite_databases = [\"../x\"]\nenvironment =",
            )
            + "[[trigger.mqtt]]\ntopic = \"a\"\ncomponent = \"cart\"\n";
        let refused = read(&text).unwrap_err();
        for named in [
            "its source must be a file",
            "component `idle` has no trigger",
            "`mysql://*:*`",
            "no variable `nobody`",
            "files cannot",
            "`../x` is no name",
            "the sort `mqtt`",
        ] {
            assert!(refused.contains(named), "{named}: {refused}");
        }
    }

    #[test]
    fn unknown_fields_and_other_versions_are_refused() {
        for (from, to, named) in [
            ("version = 2", "version = 1", "not 2"),
            ("source =", "sauce = 1\nsource =", "sauce"),
            ("[application]", "[application]\ncolour = 1", "colour"),
            ("component = \"cart\"", "component = \"cart\"\nspeed = 1", "speed"),
            ("required = true, ", "", "needs a default"),
            ("component = \"cart\"", "component = \"card\"", "no component of that name"),
        ] {
            let refused = read(&SOUND.replacen(from, to, 1)).unwrap_err();
            assert!(refused.contains(named), "{to}: {refused}");
        }
        let refused = read(&SOUND.replace("cart.wasm", "gone.wasm")).unwrap_err();
        assert!(refused.contains("cannot read gone.wasm"), "{refused}");
        let missing = read_with(SOUND, &[]).unwrap_err();
        assert!(missing.contains("--variable token=VALUE"), "{missing}");
    }

    #[test]
    fn outbound_hosts_are_places() {
        for host in [
            "*://a.b:81",
            "https://*.a.b",
            "*://*:*",
            "https://*",
            "redis://a:1",
            "tcp://10.0.0.0/8:1..9",
            "https://self.example.com",
        ] {
            assert_eq!(place(host).map(|it| it.to_string()), Ok(host.to_owned()));
        }
        for other in [
            "*://a.b",
            "http://self",
            "*://self:*",
            "http://cart.spin.internal",
            "http://*.spin.internal",
            "postgres://a:5432",
            "insecure:allow-all",
        ] {
            assert!(place(other).is_err(), "{other}");
        }
    }

    const HEARD: &str = r#"
[application.trigger.redis]
address = "redis://:{{ token }}@cache:7000"
[[trigger.redis]]
channel = "news-{{ host }}"
component = "ear"
[[trigger.redis]]
channel = "other"
address = "rediss://elsewhere"
component = "ear"
[component.ear]
source = "ear.wasm"
"#;

    #[test]
    fn channels_have_an_address_of_their_own_or_the_applications() {
        let app = read(&format!("{SOUND}{HEARD}")).unwrap();
        let ear = app.parts.iter().find(|it| it.function == "shop.ear").unwrap();
        let told = ear.share.channels.iter().map(|it| format!("{} {}", it.address, it.channel));
        assert_eq!(
            told.collect::<Vec<_>>(),
            ["redis://cache:7000 news-example.com", "rediss://elsewhere:6379 other"]
        );
        assert!(ear.share.routes.is_empty() && ear.share.fits("shop.ear"));
    }

    #[test]
    fn what_is_wrong_with_a_channel_is_named_without_its_address() {
        for (from, to, named) in [
            ("@cache:7000", "@cache:x", "`news-{{ host }}`: the address is not one"),
            ("{{ token }}@", "s3cret{{ no }}@", "lacks a variable"),
            ("address = \"redis", "place = \"redis", "settings of `application.trigger.redis`"),
            ("[application.trigger.redis]\naddress", "[variables.x]\ndefault", "has no address"),
            ("component = \"ear\"", "component = \"eye\"", "no component `eye`"),
            ("component = \"ear\"", "component = \"cart\"", "`cart` has triggers of several sorts"),
            ("channel = \"other\"", "topic = \"other\"", "a redis trigger is wrong"),
        ] {
            let refused = read(&format!("{SOUND}{}", HEARD.replacen(from, to, 1))).unwrap_err();
            assert!(refused.contains(named), "{to}: {refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_in_peace(text in ".{0,200}", at in 0..SOUND.len()) {
            prop_assert!(!feed(text.as_bytes()));
            let cut = SOUND.floor_char_boundary(at);
            feed(format!("{}{text}", &SOUND[..cut]).as_bytes());
        }
    }
}
