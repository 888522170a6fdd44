//! `sedge completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::Ui;

/// Write the completions of a shell to the standard output
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Writes them.
    #[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
    pub(crate) fn run(self, _settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Arguments::command(), "sedge", &mut script);
        ui.raw(&script);
        Ok(())
    }
}
