//! `sedge contain`: this program as a part of a sandbox; nobody types it.

use std::process::ExitCode;

use sedge_base::ErrorKind;
use sedge_sandbox::{Stage, enter};

use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::Ui;

/// The command's name, which the node starts it by.
pub(crate) const NAME: &str = "contain";

/// Be a part of a sandbox; the node starts this
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Contain {
    /// The part inside
    #[arg(long, hide = true)]
    init: bool,
    /// The part that runs the steps
    #[arg(long, hide = true, conflicts_with = "init")]
    steps: bool,
}

impl Contain {
    /// Is that part until the sandbox has ended. No thread has been started before.
    pub(crate) fn run(self, _settings: &Settings, _ui: &Ui) -> Result<(), Failed> {
        let stage = match (self.init, self.steps) {
            (true, _) => Stage::Init,
            (_, true) => Stage::Steps,
            (false, false) => Stage::Keeper,
        };
        if enter(stage, &[NAME.to_owned()]) == ExitCode::SUCCESS {
            return Ok(());
        }
        Err(Failed::new(ErrorKind::Invalid, "this command is a part of a sandbox")
            .hint("`sedge exec` runs code in one"))
    }
}
