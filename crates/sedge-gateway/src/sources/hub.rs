//! A model hub: one address per file, pinned to a commit.

use sedge_base::Secret;
use serde::Deserialize;

use super::https::{self, Place};
use super::{Pull, Source, SourceError, SourceSettings};

/// A file in a repository of the model hub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// Owner and name, such as `owner/name`.
    pub repository: String,
    /// The commit; never a branch, which may move.
    pub revision: String,
    /// The file's path in the repository.
    pub file: String,
}

impl Source for Hub {
    fn label(&self, settings: &SourceSettings) -> String {
        format!("hub {} at {}", self.repository, settings.hub)
    }

    fn needs_network(&self, settings: &SourceSettings) -> bool {
        !https::is_loopback(&settings.hub)
    }

    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn pull(&self, settings: &SourceSettings, pull: &mut Pull<'_>) -> Result<(), SourceError> {
        let Self { repository, revision, file } = self;
        let url = format!("{}/{repository}/resolve/{revision}/{file}", settings.hub);
        let token = settings.hub_token.as_ref().map(Secret::reveal);
        https::download(Place { url: &url, token: token.map(String::as_str) }, settings, pull)
    }
}
