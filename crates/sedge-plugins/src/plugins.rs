//! The plugins of a node: what lies there, what was agreed to, and which version of each answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{Clock, ContentId, ErrorKind, NodeId, Timestamp};
use sedge_capability::Handle;
use sedge_store::{Fault, Store};
use serde::{Deserialize, Serialize};

use crate::config::PluginsConfig;
use crate::events::{Changed, Refused, Trouble};
use crate::folder::{self, Found, Scan, Stamps};
use crate::hooks::Hooks;
use crate::host::Host;
use crate::issue::{Issue, score};
use crate::manifest::{Format, Manifest};
use crate::right::Right;
use crate::source;
use crate::view::{PluginList, PluginView};

/// The most plugins of a node, and the most versions of one that are listed.
const MOST_PLUGINS: usize = 256;
pub(crate) const MOST_VERSIONS: usize = 16;
/// How often folders are looked at; what has changed is taken when it stood still from one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Where the store keeps what owners have decided.
const SETTING: &str = "plugins";

/// How a plugin stands; the names are the seed's (origins 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was found and is being validated.
    Loading,
    /// Its owner has enabled it, and it is about to be active.
    Initializing,
    /// It is called for its hooks.
    Active,
    /// It is not called; its owner can enable it.
    Disabled,
    /// Its validation refused it, or it failed too often.
    Error,
    /// Its files are gone.
    Unloaded,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loading => "loading",
            Self::Initializing => "initializing",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Error => "error",
            Self::Unloaded => "unloaded",
        })
    }
}

/// What an owner agrees to: this very version, with these rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The version, as it was shown.
    pub content: ContentId,
    /// Its rights, as they were shown.
    pub rights: BTreeSet<Right>,
}

/// Why a plugin could not be enabled, disabled or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is none of that name.
    #[error("there is no plugin `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Its validation refuses it.
    #[error("`{name}` is refused: {issue}")]
    Invalid {
        /// The name.
        name: String,
        /// The first issue that is fatal.
        issue: Issue,
    },
    /// What was agreed to is not what lies there.
    #[error("`{name}` has changed since it was shown")]
    Other {
        /// The name.
        name: String,
    },
    /// The decision could not be kept.
    #[error("what was decided about `{name}` could not be kept")]
    Store {
        /// The name.
        name: String,
        /// Why.
        source: Fault,
    },
}

impl ChangeError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Other { .. } => ErrorKind::Conflict,
            Self::Store { source, .. } => source.kind(),
        }
    }

    /// Returns the stable name that machines read.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_plugin",
            Self::Invalid { .. } => "invalid_plugin",
            Self::Other { .. } => "plugin_changed",
            Self::Store { .. } => "plugin_not_kept",
        }
    }
}

/// What plugins of a node are made of.
#[derive(Debug)]
pub struct Parts {
    /// What runs entry points.
    pub host: Arc<dyn Host>,
    /// Where decisions are kept.
    pub store: Store,
    /// Where dates come from.
    pub clock: Clock,
    /// The node.
    pub node: NodeId,
    /// The node's own folder of plugins, looked into before those of the configuration.
    pub folder: PathBuf,
    /// The configuration.
    pub config: PluginsConfig,
    /// What tells what happens in the node.
    pub hooks: Arc<Hooks>,
}

/// What an owner has decided about a plugin.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub(crate) enabled: bool,
    /// The rights that were agreed to; `None` before the first time.
    pub(crate) agreed: Option<BTreeSet<Right>>,
}

/// A version that lies on the disk, and what is thought of it.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) file: PathBuf,
    pub(crate) format: Format,
    pub(crate) content: ContentId,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) issues: Vec<Issue>,
    /// What can be called; `None` when an issue is fatal.
    pub(crate) version: Option<Arc<Version>>,
}

/// A version that can be called.
pub(crate) struct Version {
    pub(crate) manifest: Manifest,
    pub(crate) content: ContentId,
    pub(crate) handle: Handle,
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// A version that was seen since the node started.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) version: String,
    pub(crate) content: ContentId,
    pub(crate) at: Timestamp,
    pub(crate) score: u8,
    pub(crate) valid: bool,
}

/// One plugin.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) state: State,
    pub(crate) newest: Option<Candidate>,
    pub(crate) active: Option<Arc<Version>>,
    pub(crate) decided: Decided,
    pub(crate) seen: VecDeque<Seen>,
    pub(crate) calls: u64,
    /// How often it failed since it last answered.
    pub(crate) failures: u32,
    pub(crate) error: Option<String>,
}

impl Plugin {
    fn new(decided: Decided) -> Self {
        Self {
            state: State::Loading,
            newest: None,
            active: None,
            decided,
            seen: VecDeque::new(),
            calls: 0,
            failures: 0,
            error: None,
        }
    }

    /// Returns whether its owner has agreed to every right of a version.
    pub(crate) fn covers(&self, manifest: &Manifest) -> bool {
        self.decided.agreed.as_ref().is_some_and(|it| manifest.rights.is_subset(it))
    }

    /// Takes in a version that was looked at; what is active stays when it is refused or waits.
    fn take(&mut self, candidate: Candidate, at: Timestamp) {
        let said = candidate.manifest.as_ref().map(|it| it.version.to_string());
        let version = said.unwrap_or_else(|| "unknown".to_owned());
        let (content, valid) = (candidate.content, candidate.version.is_some());
        self.seen.retain(|it| it.content != content);
        self.seen.push_front(Seen { version, content, at, score: score(&candidate.issues), valid });
        self.seen.truncate(MOST_VERSIONS);
        self.newest = Some(candidate);
        self.settle();
    }

    /// Lets the newest version be active if it may, and says how the plugin stands.
    fn settle(&mut self) {
        let newest = self.newest.as_ref().and_then(|it| it.version.clone());
        let agreed = newest.as_ref().is_some_and(|it| self.covers(&it.manifest));
        if !self.decided.enabled {
            self.active = None;
        } else if let Some(newest) = newest.clone().filter(|_| agreed) {
            (self.failures, self.error) = (0, None);
            self.active = Some(newest);
        }
        self.state = match (&self.active, newest) {
            (Some(_), _) => State::Active,
            (None, Some(_)) => State::Disabled,
            (None, None) => State::Error,
        };
    }
}

/// The plugins of a node.
#[derive(Debug)]
pub struct Plugins {
    pub(crate) parts: Parts,
    shelf: Mutex<BTreeMap<String, Plugin>>,
    problems: Mutex<Vec<String>>,
    /// One look or decision at a time, and what the last looks have seen.
    changing: tokio::sync::Mutex<Looks>,
}

/// What the last two looks have seen: what was taken in, and what may still be on its way.
#[derive(Debug, Default)]
struct Looks {
    taken: Option<Stamps>,
    last: Option<Stamps>,
}

impl Plugins {
    /// Makes the shelf of a node's plugins; nothing is looked at yet.
    pub fn new(parts: Parts) -> Self {
        let (shelf, problems, changing) = Default::default();
        Self { parts, shelf, problems, changing }
    }

    pub(crate) fn shelf(&self) -> MutexGuard<'_, BTreeMap<String, Plugin>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folders(&self) -> Vec<PathBuf> {
        let own = std::iter::once(&self.parts.folder);
        own.chain(&self.parts.config.folders).cloned().collect()
    }

    /// Takes up what was decided before the last stop, and looks for the first time.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the store cannot be read.
    pub async fn remember(&self) -> Result<(), Fault> {
        if !self.parts.config.enabled {
            return Ok(());
        }
        let kept =
            self.parts.store.settings().get(SETTING).await?.unwrap_or_else(|| "{}".to_owned());
        match serde_json::from_str::<BTreeMap<String, Decided>>(&kept) {
            Ok(kept) => {
                let plugins = kept.into_iter().map(|(name, it)| (name, Plugin::new(it)));
                self.shelf().extend(plugins);
            }
            Err(error) => Trouble { what: &format!("decisions cannot be read: {error}") }.emit(),
        }
        self.reload().await;
        Ok(())
    }

    /// Looks for changes until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the watch; a version that was on its way is not taken in.
    pub async fn watch(&self) {
        if !self.parts.config.enabled {
            return std::future::pending().await;
        }
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let folders = self.folders();
            let Ok(now) = tokio::task::spawn_blocking(move || folder::stamps(&folders)).await
            else {
                return;
            };
            let mut looks = self.changing.lock().await;
            let news = looks.taken.as_ref() != Some(&now) && looks.last.as_ref() == Some(&now);
            looks.last = Some(now);
            if news {
                self.look(&mut looks).await;
            }
        }
    }

    /// Looks at every folder now; returns the plugins afterwards.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves what was not looked at yet as it was.
    pub async fn reload(&self) -> PluginList {
        if self.parts.config.enabled {
            let mut looks = self.changing.lock().await;
            self.look(&mut looks).await;
        }
        self.list()
    }

    async fn look(&self, looks: &mut Looks) {
        let folders = self.folders();
        let looked = tokio::task::spawn_blocking(move || {
            let stamps = folder::stamps(&folders);
            (stamps, folder::scan(&folders))
        });
        let Ok((stamps, scan)) = looked.await else { return };
        looks.taken = Some(stamps);
        let Scan { found, mut problems } = scan;
        let mut names = BTreeSet::new();
        for found in found {
            let file = found.file.display().to_string();
            if names.len() >= MOST_PLUGINS {
                problems.push(format!("{file} is left out: there are {MOST_PLUGINS} plugins"));
            } else if names.insert(found.name.clone()) {
                self.take_in(found).await;
            } else {
                let name = &found.name;
                problems.push(format!("{file} is left out: another plugin is called `{name}`"));
            }
        }
        self.unload(&names);
        self.want();
        for what in &problems {
            Trouble { what }.emit();
        }
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    /// Looks at what was found, if it is not what is here already.
    async fn take_in(&self, found: Found) {
        let name = found.name.clone();
        {
            let mut shelf = self.shelf();
            let plugin =
                shelf.entry(name.clone()).or_insert_with(|| Plugin::new(Decided::default()));
            // What no sandbox took may have one now.
            let same = |it: &Candidate| {
                let refused = it.issues.iter().any(|it| matches!(it, Issue::Refused { .. }));
                it.content == found.content && !refused
            };
            if plugin.newest.as_ref().is_some_and(same) {
                return;
            }
            if plugin.active.is_none() {
                plugin.state = State::Loading;
            }
        }
        let candidate = self.judge(found).await;
        let now = self.parts.clock.now();
        let mut shelf = self.shelf();
        let Some(plugin) = shelf.get_mut(&name) else { return };
        plugin.take(candidate, now);
        let version = plugin.seen.front().map_or("unknown", |it| &it.version);
        let fatal = plugin.newest.iter().flat_map(|it| &it.issues).find(|it| it.is_fatal());
        match fatal {
            Some(issue) => Refused { name: &name, version, issue: issue.to_string() }.emit(),
            None => Changed { name: &name, version, state: plugin.state }.emit(),
        }
    }

    /// Validates what was found: its manifest, its entry point, and what that imports.
    async fn judge(&self, found: Found) -> Candidate {
        let Found { name, file, format, reading, entry, content } = found;
        let (mut issues, manifest) = (reading.issues, reading.manifest);
        let mut handle = None;
        if let (Some(manifest), Some(entry)) = (&manifest, &entry) {
            for right in &manifest.rights {
                if let Right::Env(name) = right
                    && !self.parts.config.env.contains_key(name)
                {
                    issues.push(Issue::NoValue { name: name.clone() });
                }
            }
            let text = std::str::from_utf8(&entry.bytes).unwrap_or_default();
            for import in source::risks(entry.kind, text) {
                let why = "no plugin gets files, processes, threads or a network".to_owned();
                issues.push(Issue::Risky { import: import.to_owned(), why });
            }
            match self.parts.host.ready(&name, entry).await {
                Ok(ready) => {
                    issues.extend(ready.imports.iter().filter_map(|it| uncovered(it, manifest)));
                    handle = Some(ready.handle);
                }
                Err(failure) => issues.push(Issue::Refused { reason: failure.message }),
            }
        }
        let handle = handle.filter(|_| !issues.iter().any(Issue::is_fatal));
        let version = manifest.as_ref().zip(handle).map(|(manifest, handle)| {
            Arc::new(Version { manifest: manifest.clone(), content, handle })
        });
        Candidate { file, format, content, manifest, issues, version }
    }

    /// Ends plugins whose files are gone; of the many, those are forgotten that nobody decided about.
    fn unload(&self, there: &BTreeSet<String>) {
        let mut shelf = self.shelf();
        for (name, plugin) in shelf.iter_mut().filter(|(name, _)| !there.contains(*name)) {
            if plugin.state != State::Unloaded {
                (plugin.state, plugin.active, plugin.newest) = (State::Unloaded, None, None);
                Changed { name, version: "none", state: plugin.state }.emit();
            }
        }
        let gone = shelf.iter().filter(|it| it.1.newest.is_none() && it.1.decided.agreed.is_none());
        let gone: Vec<_> = gone.map(|it| it.0.clone()).collect();
        for name in gone.into_iter().take(shelf.len().saturating_sub(2 * MOST_PLUGINS)) {
            shelf.remove(&name);
        }
    }

    /// Tells the hooks who wants them.
    pub(crate) fn want(&self) {
        let shelf = self.shelf();
        let active = shelf.values().filter(|it| it.state == State::Active);
        let wanted = active.filter_map(|it| it.active.as_ref());
        let wanted = wanted.flat_map(|it| it.manifest.hooks.iter().cloned()).collect();
        drop(shelf);
        self.parts.hooks.want(wanted);
    }

    /// Returns every plugin, by name.
    pub fn list(&self) -> PluginList {
        let plugins = self.shelf().iter().map(|(name, it)| PluginView::of(name, it)).collect();
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let folders = self.folders().iter().map(|it| it.display().to_string()).collect();
        let (enabled, dropped) = (self.parts.config.enabled, self.parts.hooks.dropped());
        PluginList { enabled, folders, plugins, problems, dropped }
    }

    /// Returns one plugin.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Unknown`].
    pub fn show(&self, name: &str) -> Result<PluginView, ChangeError> {
        let shelf = self.shelf();
        let found = shelf.get(name).map(|it| PluginView::of(name, it));
        found.ok_or_else(|| ChangeError::Unknown { name: name.to_owned() })
    }

    /// Lets the newest version of a plugin be called, with the rights that its owner has agreed to. On
    /// disk when this returns.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]; nothing has changed then.
    pub async fn enable(&self, name: &str, to: Agreement) -> Result<PluginView, ChangeError> {
        let _looks = self.changing.lock().await;
        let unknown = || ChangeError::Unknown { name: name.to_owned() };
        let before = {
            let mut shelf = self.shelf();
            let plugin = shelf.get_mut(name).ok_or_else(unknown)?;
            let newest = plugin.newest.as_ref().ok_or_else(unknown)?;
            if let Some(issue) = newest.issues.iter().find(|it| it.is_fatal()) {
                let (name, issue) = (name.to_owned(), issue.clone());
                return Err(ChangeError::Invalid { name, issue });
            }
            let rights = newest.manifest.as_ref().map(|it| &it.rights);
            if newest.content != to.content || rights != Some(&to.rights) {
                return Err(ChangeError::Other { name: name.to_owned() });
            }
            let before = (plugin.state, plugin.decided.clone());
            if plugin.active.is_none() {
                plugin.state = State::Initializing;
            }
            plugin.decided = Decided { enabled: true, agreed: Some(to.rights) };
            before
        };
        self.settle(name, before).await
    }

    /// Stops calling a plugin, also after a restart. On disk when this returns.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]; nothing has changed then.
    pub async fn disable(&self, name: &str) -> Result<PluginView, ChangeError> {
        let _looks = self.changing.lock().await;
        let before = {
            let mut shelf = self.shelf();
            let plugin = shelf
                .get_mut(name)
                .ok_or_else(|| ChangeError::Unknown { name: name.to_owned() })?;
            let before = (plugin.state, plugin.decided.clone());
            plugin.decided.enabled = false;
            before
        };
        self.settle(name, before).await
    }

    /// Keeps what was decided about a plugin, and lets it hold; or takes it back.
    async fn settle(
        &self,
        name: &str,
        before: (State, Decided),
    ) -> Result<PluginView, ChangeError> {
        let kept = self.keep().await;
        {
            let mut shelf = self.shelf();
            if let Some(plugin) = shelf.get_mut(name) {
                match kept {
                    Ok(()) if plugin.newest.is_some() => plugin.settle(),
                    Ok(()) => plugin.state = State::Unloaded,
                    Err(source) => {
                        (plugin.state, plugin.decided) = before;
                        return Err(ChangeError::Store { name: name.to_owned(), source });
                    }
                }
                let version = plugin.seen.front().map_or("unknown", |it| &it.version);
                Changed { name, version, state: plugin.state }.emit();
            }
        }
        self.want();
        self.show(name)
    }

    async fn keep(&self) -> Result<(), Fault> {
        let decided: BTreeMap<String, Decided> = {
            let shelf = self.shelf();
            let decided = shelf.iter().filter(|it| it.1.decided.agreed.is_some());
            decided.map(|(name, it)| (name.clone(), it.decided.clone())).collect()
        };
        let text = serde_json::to_string(&decided).unwrap_or_default();
        self.parts.store.settings().set(SETTING, &text).await
    }
}

/// Returns what is wrong with an import of a component that asks for some rights.
fn uncovered(import: &str, manifest: &Manifest) -> Option<Issue> {
    let why = match Right::of_import(import) {
        Ok(None) => return None,
        Ok(Some(right)) if manifest.rights.contains(&right) => return None,
        Ok(Some(right)) => format!("that needs the right `{right}`, which it does not ask for"),
        Err(why) => why.to_owned(),
    };
    Some(Issue::Risky { import: import.to_owned(), why })
}

#[cfg(test)]
mod tests;
