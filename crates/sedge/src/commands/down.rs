//! `sedge down`.

use std::fs::File;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sedge_base::ErrorKind;
use serde_json::json;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::Ui;

/// How long a node may take to stop.
const WITHIN: Duration = Duration::from_secs(20);

/// Stop the node of this home and wait until it is gone
#[derive(Debug, clap::Args)]
pub(crate) struct Down {}

impl Down {
    /// Stops the node.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let home = settings.home()?;
        Api::of_home(&home)?.stop()?;
        // The node holds this lock as long as it lives.
        let path = home.join("run/lock");
        let lock = File::options()
            .write(true)
            .open(&path)
            .map_err(|err| Failed::io(&path.display().to_string(), &err))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::spawn(move || drop(sender.send(lock.lock())));
        match receiver.recv_timeout(WITHIN) {
            Ok(Ok(())) => {
                ui.result(&json!({ "stopped": true }), || "stopped".to_owned());
                Ok(())
            }
            Ok(Err(err)) => Err(Failed::io(&path.display().to_string(), &err)),
            Err(_) => {
                let message = format!("the node was told to stop and still runs after {} s", WITHIN.as_secs());
                Err(Failed::new(ErrorKind::Timeout, message).hint("`sedge status` shows what it does"))
            }
        }
    }
}
