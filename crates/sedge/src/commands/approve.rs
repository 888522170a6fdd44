//! `sedge approve`.

use std::path::PathBuf;

use sedge_base::{Clock, ErrorKind};
use sedge_node::ApprovalView;
use sedge_trust::approval::{ApproverKey, Approver, Decision, canonical_arguments};
use sedge_trust::{Owner, Token};

use super::{approvals, approver};
use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BAD, BOLD, DIM, GOOD, Ui};

/// Let a tool run that waits for a person, or refuse it: signed with your key, good for this one run
///
/// The key is your own if the owner of the swarm has given it the right (see `sedge approver`), or
/// else the owner's. The node gets the signature and never the key.
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    /// What waits, by its id or the beginning of it, as `sedge approvals` lists it
    #[arg(value_name = "ID")]
    id: String,
    /// Say no
    #[arg(long)]
    refuse: bool,
    /// The folder that your key lies in; the home when left out
    #[arg(long, value_name = "DIR")]
    key: Option<PathBuf>,
}

impl Approve {
    /// Signs the answer and brings it to the node.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let home = settings.home()?;
        let api = Api::of_home(&home)?;
        let all: Vec<ApprovalView> = api.get("approvals")?;
        let view = find(&all, &self.id)?;
        // What is signed is what was shown, whatever the node says that its hash is.
        let text = view.arguments.to_string();
        let (_, arguments) =
            canonical_arguments(text.as_bytes()).map_err(|it| Failed::of(it.kind(), &it))?;
        if arguments != view.question.arguments || view.id != view.question.nonce {
            let text = "the node asks about other arguments than it shows: nothing was signed";
            return Err(Failed::new(ErrorKind::Corrupt, text)
                .hint("do not trust this node: another program than sedge may be answering"));
        }
        let decision = if self.refuse { Decision::Refused } else { Decision::Granted };
        let now = Clock::machine().now();
        let folder = self.key.unwrap_or(home);
        let named = approver::named(&folder)?;
        let owner = if named.is_none() { owner(&folder)? } else { None };
        let by = match (&named, &owner) {
            (Some((key, token)), _) => Approver::Named(key, token),
            (None, Some(owner)) => Approver::Owner(owner),
            (None, None) => {
                let text = format!("{} holds no key that may approve", folder.display());
                return Err(Failed::new(ErrorKind::Denied, text)
                    .hint("`sedge approver` makes one, and says what the owner of the swarm types"));
            }
        };
        let signed = by.decide(view.question.clone(), decision, now);
        let signed = signed.map_err(|it| Failed::of(it.kind(), &it))?;
        let said: ApprovalView = api.post("approvals", &signed)?;
        ui.result(&said, || words(&said, self.refuse));
        Ok(())
    }
}

fn words(said: &ApprovalView, refused: bool) -> String {
    let what = &said.question.capability;
    let with = approvals::shown(said);
    let word = if refused { format!("{BAD}refused{BAD:#}") } else { format!("{GOOD}approved{GOOD:#}") };
    let mut text = format!("{word}: {BOLD}{what}{BOLD:#} with {with}");
    if !said.waiting && !refused {
        text.push_str(&format!(
            "\n{DIM}nobody waits for it now: the same call runs once until {}{DIM:#}",
            said.ends
        ));
    }
    text
}

fn owner(home: &std::path::Path) -> Result<Option<Owner>, Failed> {
    Owner::load(home).map_err(|it| Failed::of(it.kind(), &it))
}

fn find<'a>(all: &'a [ApprovalView], id: &str) -> Result<&'a ApprovalView, Failed> {
    let mut named = all.iter().filter(|it| !id.is_empty() && it.id.to_string().starts_with(id));
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Failed::new(ErrorKind::NotFound, format!("nothing waits as `{id}`"))
            .hint("`sedge approvals` lists what does")),
        (Some(_), Some(_)) => {
            Err(Failed::new(ErrorKind::Invalid, format!("`{id}` begins several ids"))
                .hint("give more of it"))
        }
    }
}

/// What signs for a person, if it is there.
pub(super) type Named = Option<(ApproverKey, Token)>;
