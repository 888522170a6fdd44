//! The nodes of the demo: processes of their own, in homes that go away with them.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::Duration;

use sedge_base::ErrorKind;
use tokio::time::Instant;

use super::SOON;
use crate::api::Api;
use crate::child;
use crate::failed::Failed;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The nodes and the folder that they live in. Dropping it ends what still runs.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    actors: Vec<Actor>,
}

/// One node of the demo.
#[derive(Debug)]
pub(crate) struct Actor {
    /// Its name.
    pub(crate) name: &'static str,
    /// The way to it.
    pub(crate) api: Api,
    child: Child,
}

impl Stage {
    /// Makes the folder for the homes.
    pub(crate) fn build() -> Result<Self, Failed> {
        let random: [u8; 6] =
            sedge_trust::random_bytes().map_err(|err| Failed::of(ErrorKind::Internal, &err))?;
        let folder = std::env::temp_dir().join(format!("sedge-demo-{}", hex::encode(random)));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|err| Failed::io(&format!("cannot create {}", folder.display()), &err))?;
        Ok(Self { folder, actors: Vec::new() })
    }

    /// Returns the folder, for files of the demo.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a node; returns when it is ready.
    pub(crate) fn enter(&mut self, name: &'static str, arguments: &[&str], cache: &Path) -> Result<(), Failed> {
        let mut all = vec!["--name".to_owned(), name.to_owned()];
        all.extend(["--api", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--cache"].map(str::to_owned));
        all.push(cache.display().to_string());
        all.extend(arguments.iter().map(|it| (*it).to_owned()));
        let started = child::start(&self.folder.join(name), &all, SOON)?;
        self.actors.push(Actor { name, api: started.api, child: started.child });
        Ok(())
    }

    /// Stops one node; its home stays.
    pub(crate) fn leave(&mut self, name: &str) -> Result<(), Failed> {
        let Some(place) = self.actors.iter().position(|it| it.name == name) else { return Ok(()) };
        let mut actor = self.actors.remove(place);
        actor.api.stop()?;
        actor.ended()
    }

    /// Returns a node by its name.
    pub(crate) fn actor(&self, name: &str) -> Result<&Actor, Failed> {
        let found = self.actors.iter().find(|it| it.name == name);
        found.ok_or_else(|| Failed::new(ErrorKind::Internal, format!("node `{name}` was never started")))
    }

    /// Returns every node.
    pub(crate) fn actors(&self) -> &[Actor] {
        &self.actors
    }

    /// Waits until `holds` is true as every node sees it.
    pub(crate) fn until_all_see(
        &self,
        what: &str,
        holds: impl Fn(&Api) -> Result<bool, Failed>,
    ) -> Result<(), Failed> {
        let until = Instant::now() + SOON;
        for actor in &self.actors {
            while !holds(&actor.api)? {
                if Instant::now() >= until {
                    let waited = SOON.as_secs();
                    let message = format!("{} did not see {what} within {waited} s", actor.name);
                    return Err(Failed::new(ErrorKind::Timeout, message));
                }
                thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Stops every node, waits for its process, removes the homes.
    pub(crate) fn stop(&mut self) -> Result<String, Failed> {
        let count = self.actors.len();
        for actor in &self.actors {
            actor.api.stop()?;
        }
        for actor in &mut self.actors {
            actor.ended()?;
        }
        self.actors.clear();
        fs::remove_dir_all(&self.folder)
            .map_err(|err| Failed::io(&format!("cannot remove {}", self.folder.display()), &err))?;
        Ok(format!("{count} processes ended by themselves with exit code 0, their homes are removed"))
    }
}

impl Actor {
    /// Waits until its process has ended by itself, well.
    fn ended(&mut self) -> Result<(), Failed> {
        let until = Instant::now() + SOON;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < until => thread::sleep(LOOK),
                Ok(None) => {
                    let message =
                        format!("{} still runs {} s after it was told to stop", self.name, SOON.as_secs());
                    return Err(Failed::new(ErrorKind::Timeout, message));
                }
                Err(err) => return Err(Failed::io("a node's process is lost", &err)),
            }
        };
        if status.success() {
            return Ok(());
        }
        Err(Failed::new(ErrorKind::Failed, format!("{} ended with {status}", self.name)))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.actors.clear();
        drop(fs::remove_dir_all(&self.folder));
    }
}
