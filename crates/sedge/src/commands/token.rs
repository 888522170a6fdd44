//! `sedge token`.

mod limits;

use std::collections::BTreeMap;
use std::io::Read;

use sedge_base::{Clock, ErrorKind, NodeId, Timestamp};
use sedge_node::{RevokedView, Status};
use sedge_trust::swarm::OWNER_FILE;
use sedge_trust::token::{Budget, Limit, MAX_TOKEN_BYTES, TOKEN_PREFIX, TokenRequest};
use sedge_trust::{Token as Record, TokenId, VerifiedToken};
use sedge_trust::{Owner, token};
use serde_json::json;

use self::limits::LimitArgs;
use super::revoke;
use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BAD, BOLD, DIM, GOOD, Ui};

/// Make, narrow, show, check and revoke tokens: rights to run tasks that only ever shrink
///
/// A token goes where the node's key goes: `Authorization: Bearer`, or the API key of an OpenAI
/// client. Whoever has it may use it, and may narrow it for others, with no node and no network.
#[derive(Debug, clap::Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a token, with the owner's key of this home
    Mint {
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Make a narrower token out of a token; works anywhere
    Narrow {
        /// The token, or `-` to read it from the standard input
        #[arg(value_name = "TOKEN")]
        token: String,
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Show what a token allows; works anywhere
    Show {
        /// The token, or `-` to read it from the standard input
        #[arg(value_name = "TOKEN")]
        token: String,
        /// The public key of the swarm's owner; this home's own unless told otherwise
        #[arg(long, value_name = "HEX")]
        owner: Option<NodeId>,
    },
    /// Check whether a token allows a task; works anywhere
    ///
    /// What only a node knows is not looked at: whether the token was revoked, and how many calls
    /// were made. A task asks for no more than the token allows, as on every node.
    Check {
        /// The token, or `-` to read it from the standard input
        #[arg(value_name = "TOKEN")]
        token: String,
        /// The capability's name
        #[arg(long, value_name = "NAME")]
        capability: String,
        /// The node that shall run it, by its whole id; any that the token allows when left out
        #[arg(long, value_name = "HEX")]
        on: Option<NodeId>,
        /// When, such as 2026-11-21T18:00:00Z; now when left out
        #[arg(long, value_name = "DATE")]
        at: Option<Timestamp>,
        /// How many calls were made before
        #[arg(long, value_name = "N", default_value_t = 0)]
        used: u64,
        /// The public key of the swarm's owner, as `sedge status --json` prints it; this home's own
        /// unless told otherwise
        #[arg(long, value_name = "HEX")]
        owner: Option<NodeId>,
    },
    /// Take back a token and all that was narrowed from it, on every machine of the swarm
    Revoke {
        /// The token, the id of one of its blocks, or `-` to read it from the standard input
        #[arg(value_name = "TOKEN|ID")]
        token: String,
    },
}

impl Token {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        match self.verb {
            Verb::Mint { limits } => {
                let owner = minting_key(settings)?;
                let minted = owner.mint(&limits.limits(Clock::machine().now())?);
                tell(*ui, &minted.map_err(failed)?)
            }
            Verb::Narrow { token, limits } => {
                let token = read(&token)?;
                let narrowed = token.narrow(&limits.limits(Clock::machine().now())?);
                tell(*ui, &narrowed.map_err(failed)?)
            }
            Verb::Show { token, owner } => {
                let token = read(&token)?;
                let owner = owner.map_or_else(|| public_key(settings), |it| Ok(Some(it)))?;
                show(*ui, &token, owner.as_ref());
                Ok(())
            }
            Verb::Check { token, capability, on, at, used, owner } => {
                let token = read(&token)?;
                let owner = owner.map_or_else(|| public_key(settings), |it| Ok(Some(it)))?;
                let owner = owner.ok_or_else(|| {
                    Failed::new(ErrorKind::Invalid, "no owner's key to check the token with")
                        .hint("`--owner HEX`, as `sedge status --json` prints it")
                })?;
                let token = token.verify(&owner).map_err(|it| Failed::of(it.kind(), &it))?;
                let at = at.unwrap_or_else(|| Clock::machine().now());
                check(&token, &capability, on, (at, used))?;
                let said = json!({ "allowed": true, "capability": capability, "at": at });
                ui.result(&said, || format!("{GOOD}allowed{GOOD:#}: {capability} at {at}"));
                Ok(())
            }
            Verb::Revoke { token } => {
                let id = id_of(&token)?;
                let api = Api::of_home(&settings.home()?)?;
                let path = format!("tokens/{}/revoke", segment(&id.to_string()));
                let revoked: RevokedView = api.post(&path, &())?;
                ui.result(&revoked, || revoke::words(&format!("token {}", id.short()), &revoked));
                Ok(())
            }
        }
    }
}

fn failed(error: token::TokenError) -> Failed {
    Failed::of(error.kind(), &error)
}

/// Returns the swarm's key if this home owns one.
fn own_key(settings: &Settings) -> Result<Option<Owner>, Failed> {
    Owner::load(&settings.home()?).map_err(|err| Failed::of(err.kind(), &err))
}

/// Returns the swarm's key, and refuses when this home owns none.
pub(super) fn minting_key(settings: &Settings) -> Result<Owner, Failed> {
    let home = settings.home()?;
    let not_here = |text| {
        Failed::new(ErrorKind::Denied, text)
            .hint("tokens are made on the machine that owns the swarm")
    };
    let owner = own_key(settings)?
        .ok_or_else(|| not_here(format!("{} has no {OWNER_FILE}", home.display())))?;
    // A home that founded a swarm and joined another one keeps the key of the first.
    let state = Api::of_home(&home).and_then(|it| it.get::<Status>("status"));
    match state {
        Ok(state) if state.swarm_key != owner.public_key() => {
            Err(not_here("this machine is a member of a swarm that another one owns".to_owned()))
        }
        // With no node running, the key is all that is known.
        _ => Ok(owner),
    }
}

/// Returns the public key of the swarm that this home owns.
fn public_key(settings: &Settings) -> Result<Option<NodeId>, Failed> {
    Ok(own_key(settings)?.map(|it| it.public_key()))
}

/// Returns what was given, or the standard input when that is `-`.
pub(super) fn given(text: &str) -> Result<String, Failed> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    let longest = 2 * MAX_TOKEN_BYTES as u64;
    std::io::stdin()
        .lock()
        .take(longest)
        .read_to_string(&mut read)
        .map_err(|err| Failed::io("cannot read the standard input", &err))?;
    Ok(read.trim().to_owned())
}

fn read(text: &str) -> Result<Record, Failed> {
    Record::parse(&given(text)?).map_err(failed)
}

/// Returns the block that is to be revoked: the last one of a token, or the one that is named.
fn id_of(text: &str) -> Result<TokenId, Failed> {
    let text = given(text)?;
    if text.starts_with(TOKEN_PREFIX) {
        let id = Record::parse(&text).map_err(failed)?.id();
        return id.ok_or_else(|| Failed::new(ErrorKind::Invalid, "the token has no blocks"));
    }
    text.parse().map_err(|err| Failed::of(ErrorKind::Invalid, &err))
}

/// Prints a token that was made; the token itself is the result.
fn tell(ui: Ui, made: &Record) -> Result<(), Failed> {
    let text = made.to_text().map_err(failed)?;
    let record = json!({ "token": text, "id": made.id(), "blocks": made.blocks() });
    ui.result(&record, || text.clone());
    Ok(())
}

fn show(ui: Ui, shown: &Record, owner: Option<&NodeId>) {
    let signed = owner.map(|it| shown.verify(it).is_ok());
    let record = json!({ "id": shown.id(), "signed_by_owner": signed, "blocks": shown.blocks() });
    ui.result(&record, || {
        let mut text = match signed {
            Some(true) => format!("{GOOD}signed{GOOD:#} by the owner of the swarm\n"),
            Some(false) => format!("{BAD}not signed{BAD:#} by the owner of the swarm\n"),
            None => format!("{DIM}not verified: no owner's key is known here{DIM:#}\n"),
        };
        for (number, block) in shown.blocks().iter().enumerate() {
            let who = if number == 0 { "minted" } else { "narrowed" };
            text.push_str(&format!("{BOLD}{who}{BOLD:#}  {DIM}{}{DIM:#}\n", block.id));
            if block.limits.is_empty() {
                text.push_str("  takes nothing away\n");
            }
            for limit in &block.limits {
                text.push_str(&format!("  {limit}\n"));
            }
        }
        text
    });
}

fn check(
    checked: &VerifiedToken,
    capability: &str,
    on: Option<NodeId>,
    (now, used): (Timestamp, u64),
) -> Result<(), Failed> {
    let budgets: Vec<(Budget, u64)> =
        Budget::ALL.into_iter().filter_map(|it| Some((it, checked.at_most(it)?))).collect();
    let used: BTreeMap<TokenId, u64> =
        checked.call_limits().into_keys().map(|it| (it, used)).collect();
    let node = on.unwrap_or_else(|| any_node(checked));
    let request = TokenRequest { capability, node, now, budgets: &budgets, used: &used };
    checked.check(&request).map_err(|refused| {
        let mut failed = Failed::of(refused.kind(), &refused);
        failed.code = Some(refused.code().to_owned());
        failed
    })
}

/// Returns a node that the token allows, if it names any.
fn any_node(checked: &VerifiedToken) -> NodeId {
    let limits = checked.blocks().iter().flat_map(|it| &it.limits);
    let mut named = limits.flat_map(|it| match it {
        Limit::Nodes(nodes) => nodes.iter().copied().collect(),
        _ => Vec::new(),
    });
    named.find(|it| checked.runs_on(it)).unwrap_or(NodeId::from_bytes([0; 32]))
}
