//! `sedge secret`.

use std::io::{IsTerminal, Read};

use sedge_functions::Place;
use sedge_node::SecretView;
use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{DIM, GOOD, Ui};

/// The most bytes that are read of a value; the node says how long it may be.
const MOST_READ: u64 = 1 << 20;

/// Keep values that the node adds to what functions send, unseen by them
#[derive(Debug, clap::Args)]
pub(crate) struct Secret {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Keep a value, read as one line from the standard input, for some places alone
    Set {
        /// Capital letters, digits and underscores
        #[arg(value_name = "NAME")]
        name: String,
        /// Where it may be sent, such as `https://api.example.com`; may be said several times
        #[arg(long, value_name = "PLACE", required = true)]
        place: Vec<Place>,
    },
    /// List the names, and where they may be sent
    Ls,
    /// Forget one
    Rm {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

impl Secret {
    /// Does it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.action {
            Action::Set { name, place } => set(&api, &name, &place, ui),
            Action::Ls => {
                let kept: Vec<SecretView> = api.get("secrets")?;
                ui.result(&kept, || words(&kept));
                Ok(())
            }
            Action::Rm { name } => {
                let removed: Value = api.delete(&format!("secrets/{}", segment(&name)))?;
                ui.result(&removed, || match removed["removed"] == true {
                    true => format!("{name} is forgotten\n"),
                    false => format!("there was no {name}\n"),
                });
                Ok(())
            }
        }
    }
}

fn set(api: &Api, name: &str, places: &[Place], ui: &Ui) -> Result<(), Failed> {
    if std::io::stdin().is_terminal() {
        ui.note(format_args!("the value, then Enter and Ctrl-D; it is shown while you type"));
    }
    let mut value = String::new();
    let read = std::io::stdin().take(MOST_READ).read_to_string(&mut value);
    read.map_err(|err| Failed::io("cannot read the value", &err))?;
    let value = value.trim_end_matches(['\r', '\n']);
    let body = json!({ "value": value, "places": places });
    let kept: Value = api.set(&format!("secrets/{}", segment(name)), &body)?;
    ui.result(&kept, || format!("{GOOD}kept{GOOD:#}  {name}\n"));
    Ok(())
}

fn words(kept: &[SecretView]) -> String {
    let line = |it: &SecretView| {
        let places: Vec<String> = it.places.iter().map(Place::to_string).collect();
        format!("{}  {DIM}{}{DIM:#}\n", it.name, places.join(" "))
    };
    kept.iter().map(line).collect()
}
