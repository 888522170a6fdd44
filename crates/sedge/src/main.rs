//! sedge turns the machines you own into one private AI.
//!
//! The program: arguments, output and exit codes, and the only place that reads the environment.
//! `sedge up` is a node in the foreground; every other command talks to a running node through its
//! API on loopback.

mod api;
mod child;
mod commands;
mod failed;
mod qr;
mod settings;
mod span;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use settings::Settings;
use ui::Ui;

/// One private AI out of the machines you own.
#[derive(Debug, Parser)]
#[command(name = "sedge", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Write JSON to the standard output, one document a line
    #[arg(long, global = true, help_heading = settings::GLOBAL)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let Arguments { settings, json, command } = Arguments::parse();
    let ui = Ui::new(json);
    match command.run(&settings, &ui) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            ui.failed(&failed);
            ExitCode::from(failed.kind.exit_code())
        }
    }
}
