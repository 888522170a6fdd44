//! What others see of plugins: plain records.

use std::collections::BTreeSet;

use sedge_base::{ContentId, Timestamp};
use sedge_capability::Budgets;
use serde::{Deserialize, Serialize};

use crate::issue::{Issue, score};
use crate::manifest::Format;
use crate::plugins::{Plugin, State};
use crate::right::Right;

/// Every plugin of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginList {
    /// Whether plugins are looked for at all.
    pub enabled: bool,
    /// The folders that are looked into.
    pub folders: Vec<String>,
    /// The plugins, by name.
    pub plugins: Vec<PluginView>,
    /// What was left out, and why.
    pub problems: Vec<String>,
    /// How often something happened that no plugin was told of, because too much waited.
    pub dropped: u64,
}

/// Something that is wrong with a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueView {
    /// The stable name of this very issue.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// Whether it makes the plugin invalid, whatever the score.
    pub fatal: bool,
}

impl From<&Issue> for IssueView {
    fn from(issue: &Issue) -> Self {
        let fatal = issue.is_fatal();
        Self { code: issue.code().to_owned(), message: issue.to_string(), fatal }
    }
}

/// Something that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightView {
    /// As the manifest has it.
    pub right: Right,
    /// What a person agrees to.
    pub words: String,
    /// Whether its owner has agreed.
    pub agreed: bool,
}

/// A version that was seen since the node started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// The version.
    pub version: String,
    /// The hash of its manifest and its entry point.
    pub content: ContentId,
    /// When it was first seen.
    pub seen: Timestamp,
    /// Its score.
    pub score: u8,
    /// Whether it could be enabled.
    pub valid: bool,
    /// Whether it is what is called.
    pub active: bool,
}

/// One plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// Whether its owner has enabled it.
    pub enabled: bool,
    /// The version that is called; `None` when none is.
    pub active: Option<String>,
    /// The version that lies on the disk; `None` when none does, or it says none.
    pub version: Option<String>,
    /// The hash of its manifest and its entry point.
    pub content: Option<ContentId>,
    /// Whether the newest version could be enabled.
    pub valid: bool,
    /// Its score, of 100.
    pub score: u8,
    /// What is wrong with it.
    pub issues: Vec<IssueView>,
    /// What its author says about it.
    pub description: String,
    /// The hooks that it registers for.
    pub hooks: BTreeSet<String>,
    /// Who is called first: the highest.
    pub priority: i32,
    /// What it asks for.
    pub rights: Vec<RightView>,
    /// Whether its owner has agreed to everything that the newest version asks for.
    pub agreed: bool,
    /// The most that one call may use.
    pub limits: Budgets,
    /// Where its manifest lies.
    pub file: Option<String>,
    /// How the manifest is written.
    pub format: Option<Format>,
    /// What is run.
    pub entry_point: Option<String>,
    /// How often it was called since the node started.
    pub calls: u64,
    /// How often it failed since it last answered.
    pub failures: u32,
    /// How the last of them failed.
    pub error: Option<String>,
    /// The versions that were seen since the node started, the newest first.
    pub versions: Vec<VersionView>,
}

impl PluginView {
    pub(crate) fn of(name: &str, plugin: &Plugin) -> Self {
        let newest = plugin.newest.as_ref();
        let manifest = newest.and_then(|it| it.manifest.as_ref());
        let issues = newest.map_or(&[][..], |it| &it.issues);
        let active = plugin.active.as_ref().filter(|_| plugin.state == State::Active);
        let agreed =
            |right: &Right| plugin.decided.agreed.as_ref().is_some_and(|it| it.contains(right));
        let rights = manifest.iter().flat_map(|it| &it.rights).map(|it| RightView {
            right: it.clone(),
            words: it.words(),
            agreed: agreed(it),
        });
        let versions = plugin.seen.iter().map(|it| VersionView {
            version: it.version.clone(),
            content: it.content,
            seen: it.at,
            score: it.score,
            valid: it.valid,
            active: active.is_some_and(|active| active.content == it.content),
        });
        Self {
            name: name.to_owned(),
            state: plugin.state,
            enabled: plugin.decided.enabled,
            active: active.map(|it| it.manifest.version.to_string()),
            version: manifest.map(|it| it.version.to_string()),
            content: newest.map(|it| it.content),
            valid: newest.is_some_and(|it| it.version.is_some()),
            score: score(issues),
            issues: issues.iter().map(IssueView::from).collect(),
            description: manifest.map(|it| it.description.clone()).unwrap_or_default(),
            hooks: manifest.map(|it| it.hooks.clone()).unwrap_or_default(),
            priority: manifest.map_or(0, |it| it.priority),
            rights: rights.collect(),
            agreed: manifest.is_some_and(|it| plugin.covers(it)),
            limits: manifest.map(|it| it.limits).unwrap_or_default(),
            file: newest.map(|it| it.file.display().to_string()),
            format: newest.map(|it| it.format),
            entry_point: manifest.map(|it| it.entry_point.clone()),
            calls: plugin.calls,
            failures: plugin.failures,
            error: plugin.error.clone(),
            versions: versions.collect(),
        }
    }
}
