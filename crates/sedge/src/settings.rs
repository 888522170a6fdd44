//! Where the program looks: flag beats environment beats default.

use std::path::{Path, PathBuf};

use sedge_base::ErrorKind;

use crate::failed::Failed;

/// The folder in a home where the nodes of further swarms live, each with keys and state of its own.
const SWARMS: &str = "swarms";

/// Where the help of a command lists what every command takes.
pub(crate) const GLOBAL: &str = "Global options";

/// What every command may be told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    /// The node's folder; `~/.sedge` unless told otherwise
    #[arg(long, global = true, help_heading = GLOBAL, env = "SEDGE_HOME", value_name = "DIR", hide_env_values = true)]
    home: Option<PathBuf>,
    /// Which of the machine's swarms is meant: that of the home itself unless told otherwise
    #[arg(long, global = true, help_heading = GLOBAL, env = "SEDGE_SWARM", value_name = "NAME", value_parser = swarm_name, hide_env_values = true)]
    swarm: Option<String>,
    /// The folder of model files that all nodes of this machine share; `~/.cache/sedge` unless told otherwise
    #[arg(long, global = true, help_heading = GLOBAL, env = "SEDGE_CACHE", value_name = "DIR", hide_env_values = true)]
    cache: Option<PathBuf>,
    /// What to write to the log, such as `info` or `sedge=debug`
    #[arg(long, global = true, help_heading = GLOBAL, env = "SEDGE_LOG", value_name = "FILTER", hide_env_values = true)]
    log: Option<String>,
}

impl Settings {
    /// Returns the node's folder: the home, or that of another swarm inside it.
    pub(crate) fn home(&self) -> Result<PathBuf, Failed> {
        let machine = self.machine()?;
        Ok(match &self.swarm {
            None => machine,
            Some(swarm) => machine.join(SWARMS).join(swarm),
        })
    }

    /// Returns the home, whichever swarm is meant.
    pub(crate) fn machine(&self) -> Result<PathBuf, Failed> {
        match &self.home {
            Some(home) => Ok(home.clone()),
            None => Ok(user_folder("--home")?.join(".sedge")),
        }
    }

    /// Returns which swarm beside the home's own is meant.
    pub(crate) fn swarm(&self) -> Option<&str> {
        self.swarm.as_deref()
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

/// Returns the machine's further swarms with the folders of their nodes, by name.
pub(crate) fn swarms_in(home: &Path) -> Vec<(String, PathBuf)> {
    let Ok(folders) = std::fs::read_dir(home.join(SWARMS)) else { return Vec::new() };
    let named = folders.filter_map(|it| {
        let it = it.ok().filter(|it| it.path().join("identity.key").exists())?;
        Some((swarm_name(it.file_name().to_str()?).ok()?, it.path()))
    });
    let mut swarms: Vec<_> = named.collect();
    swarms.sort();
    swarms
}

/// Reads the name of a swarm, which is that of a folder, too.
fn swarm_name(text: &str) -> Result<String, String> {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("1 to 64 letters, digits, hyphens or underscores".to_owned())
    }
}

/// Returns the person's own folder, or says which flag makes it unnecessary.
fn user_folder(flag: &str) -> Result<PathBuf, Failed> {
    std::env::home_dir().filter(|it| it.is_absolute()).ok_or_else(|| {
        Failed::new(ErrorKind::Invalid, "the environment names no home folder of yours")
            .hint(format!("name a folder with `{flag} DIR`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_is_a_folder_of_the_home_and_never_outside() {
        for name in ["work", "a-1_B"] {
            assert_eq!(swarm_name(name).as_deref(), Ok(name));
        }
        for name in ["", ".", "..", "a/b", "../a", "a.b", " ", "é", &"a".repeat(65)] {
            assert!(swarm_name(name).is_err(), "{name}");
        }
    }
}
