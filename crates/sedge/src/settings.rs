//! Where the program looks: flag beats environment beats default.

use std::path::PathBuf;

use sedge_base::ErrorKind;

use crate::failed::Failed;

/// What every command may be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// The node's folder; `~/.sedge` unless told otherwise
    #[arg(long, global = true, env = "SEDGE_HOME", value_name = "DIR", hide_env_values = true)]
    home: Option<PathBuf>,
    /// The folder of model files that all nodes of this machine share; `~/.cache/sedge` unless told otherwise
    #[arg(long, global = true, env = "SEDGE_CACHE", value_name = "DIR", hide_env_values = true)]
    cache: Option<PathBuf>,
    /// What to write to the log, such as `info` or `sedge=debug`
    #[arg(long, global = true, env = "SEDGE_LOG", value_name = "FILTER", hide_env_values = true)]
    log: Option<String>,
}

impl Settings {
    /// Returns the node's folder.
    pub(crate) fn home(&self) -> Result<PathBuf, Failed> {
        match &self.home {
            Some(home) => Ok(home.clone()),
            None => Ok(user_folder("--home")?.join(".sedge")),
        }
    }

    /// Returns the folder of model files.
    pub(crate) fn models(&self) -> Result<PathBuf, Failed> {
        Ok(self.cache()?.join("models"))
    }

    /// Returns the folder of what can be fetched again.
    pub(crate) fn cache(&self) -> Result<PathBuf, Failed> {
        match &self.cache {
            Some(cache) => Ok(cache.clone()),
            None => Ok(user_folder("--cache")?.join(".cache/sedge")),
        }
    }

    /// Returns what to log.
    pub(crate) fn log(&self) -> &str {
        self.log.as_deref().unwrap_or("warn,openraft=off")
    }
}

/// Returns the person's own folder, or says which flag makes it unnecessary.
fn user_folder(flag: &str) -> Result<PathBuf, Failed> {
    std::env::home_dir().filter(|it| it.is_absolute()).ok_or_else(|| {
        Failed::new(ErrorKind::Invalid, "the environment names no home folder of yours")
            .hint(format!("name a folder with `{flag} DIR`"))
    })
}
