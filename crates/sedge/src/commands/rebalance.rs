//! `sedge rebalance`.

use sedge_node::Moved;
use sedge_server::RebalanceAsk;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BAD, GOOD, Ui};

/// Move functions from the fullest machines to the emptiest, until all have about the same number
#[derive(Debug, clap::Args)]
pub(crate) struct Rebalance {
    /// Only say what would move
    #[arg(long)]
    dry_run: bool,
}

impl Rebalance {
    /// Moves them.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self { dry_run } = self;
        let ask = RebalanceAsk { evacuate: None, dry_run };
        let moved: Vec<Moved> = Api::of_home(&settings.home()?)?.post("rebalance", &ask)?;
        ui.result(&moved, || words(&moved, dry_run));
        ended(&moved)
    }
}

/// Fails when a move did.
pub(super) fn ended(moved: &[Moved]) -> Result<(), Failed> {
    match moved.iter().find_map(|it| it.failure.as_ref().map(|failure| (it, failure))) {
        None => Ok(()),
        Some((it, failure)) => {
            Err(Failed::new(failure.kind, format!("{} stays on {}: {failure}", it.function, it.from_name)))
        }
    }
}

/// Says what moved, or would.
pub(super) fn words(moved: &[Moved], dry_run: bool) -> String {
    if moved.is_empty() {
        return "nothing to move\n".to_owned();
    }
    let mut text = String::new();
    for it in moved {
        let way = format!("{} from {} to {}", it.function, it.from_name, it.to_name);
        text.push_str(&match (&it.failure, dry_run) {
            (Some(_), _) => format!("{BAD}failed{BAD:#}  {way}\n"),
            (None, true) => format!("would move  {way}\n"),
            (None, false) => format!("{GOOD}moved{GOOD:#}  {way}\n"),
        });
    }
    text
}
