//! `sedge edge`.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Clock, ErrorKind, TaskScope, Timestamp};
use sedge_edges::{EdgeId, Guard, Program, Ticket, ToolsFile};
use sedge_node::Home;
use sedge_server::{Attending, attend};
use sedge_trust::token::Limit;
use serde_json::json;

use super::{token, up};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BOLD, DIM, GOOD, Ui};

/// How long background work may take to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The bits by which others could read or change a file.
const SECRET: u32 = 0o077;

/// The bits by which others could change a file.
const OWN: u32 = 0o022;

/// The largest file that is read here, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Let a machine without a node run tools for the swarm: enrol it here, run it there
///
/// The node needs doors for other machines: `listen` in `[server]` of its configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct Edge {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write the ticket for an edge, with the owner's key of this home
    ///
    /// The ticket is a secret. Bring it to the edge's machine by a way of your own: the owner's key
    /// in it is what the edge checks approvals against.
    Enroll {
        /// The edge's name: letters, digits or ._-
        #[arg(value_name = "NAME")]
        name: String,
        /// Where the edge finds this node's doors
        #[arg(long, value_name = "HOST:PORT")]
        core: String,
        /// The file to write; one that is there is never replaced
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How long the edge may connect; until its token is revoked when left out
        #[arg(long = "for", value_name = "TIME", value_parser = span::parse)]
        lasts: Option<Duration>,
    },
    /// Be the edge of a ticket: connect, run tools when asked, and stay
    ///
    /// Tools are commands of a file, `[[tool]]` with `name`, `command`, and perhaps `description`,
    /// `timeout`, `input_schema` and `approval`. A tool runs only with a person's signed approval of
    /// that very run, unless its `approval` is false. What the node says about that does not count.
    Run {
        /// The ticket
        #[arg(value_name = "TICKET")]
        ticket: PathBuf,
        /// The file of tools
        #[arg(long, value_name = "FILE")]
        tools: PathBuf,
        /// Where used approvals are remembered; in the home's `edges` when left out
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
}

impl Edge {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        match self.verb {
            Verb::Enroll { name, core, out, lasts } => {
                let edge = name.parse().map_err(|err| Failed::of(ErrorKind::Invalid, &err))?;
                enroll(settings, *ui, &edge, (&core, &out), lasts)
            }
            Verb::Run { ticket, tools, state } => {
                up::log_to_stderr(settings)?;
                let ticket = Ticket::parse(&read(&ticket, SECRET)?)
                    .map_err(|it| Failed::of(it.kind(), &it))?;
                let tools = ToolsFile::parse(&read(&tools, OWN)?)
                    .map_err(|it| Failed::of(it.kind(), &it))?;
                let edge = ticket.edge().map_err(|it| Failed::of(it.kind(), &it))?;
                let state = match state {
                    Some(state) => state,
                    None => settings.home()?.join("edges").join(edge.as_str()),
                };
                run(*ui, &ticket, tools, &state)
            }
        }
    }
}

fn enroll(
    settings: &Settings,
    ui: Ui,
    edge: &EdgeId,
    (core, out): (&str, &Path),
    lasts: Option<Duration>,
) -> Result<(), Failed> {
    let owner = token::minting_key(settings)?;
    let pem = Home::authority_path(&settings.home()?);
    let authority = read(&pem, OWN).map_err(|it| {
        it.hint("the node has no doors for other machines yet: `listen` in `[server]` of its configuration")
    })?;
    let mut limits = vec![Limit::Capabilities([edge.right()].into())];
    if let Some(lasts) = lasts {
        let until = Clock::machine().now().plus(lasts).as_millis() / 1000 * 1000;
        limits.push(Limit::Until(Timestamp::from_millis(until)));
    }
    let minted = owner.mint(&limits).and_then(|it| it.to_text());
    let minted = minted.map_err(|it| Failed::of(it.kind(), &it))?;
    let ticket = Ticket::new(edge, core, authority, minted, owner.public_key());
    let text = serde_json::to_string_pretty(&ticket)
        .map_err(|it| Failed::new(ErrorKind::Internal, format!("unwritable ticket: {it}")))?;
    let shown = out.display().to_string();
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(out);
    file.and_then(|mut it| it.write_all(text.as_bytes()).and_then(|()| it.sync_all()))
        .map_err(|it| Failed::io(&format!("cannot write {shown}"), &it))?;
    let record = json!({ "edge": edge, "ticket": shown, "core": core, "owner": owner.public_key() });
    ui.result(&record, || {
        format!(
            "{GOOD}wrote{GOOD:#} {shown}; it is a secret\n\
             on the edge: {BOLD}sedge edge run {shown} --tools TOOLS.toml{BOLD:#}\n"
        )
    });
    Ok(())
}

fn run(ui: Ui, ticket: &Ticket, tools: ToolsFile, state: &Path) -> Result<(), Failed> {
    let edge = ticket.edge().map_err(|it| Failed::of(it.kind(), &it))?;
    let mut folder = std::fs::DirBuilder::new();
    folder.recursive(true).mode(0o700).create(state).map_err(|it| {
        Failed::io(&format!("cannot make {}", state.display()), &it)
    })?;
    let (count, free) = tools.counts();
    let used = state.join("used-approvals");
    let guard = Guard::open(&used, ticket.owner, edge.clone(), Clock::machine())
        .map_err(|it| Failed::of(it.kind(), &it))?;
    let program = Arc::new(Program::new(tools, guard));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|err| Failed::io("no runtime", &err))?;
    runtime.block_on(async {
        let mut signals = up::Signals::new()?;
        let scope = TaskScope::new();
        let cancel = scope.cancel();
        let told = |it: Attending| match it {
            Attending::Connected => {
                let record = json!({ "connected": true, "edge": edge, "tools": count });
                ui.result(&record, || {
                    format!(
                        "{GOOD}connected{GOOD:#} to {} as {BOLD}{edge}{BOLD:#}: {count} tools, {free} without approval",
                        ticket.core
                    )
                });
            }
            Attending::Lost { reason, again_in } => {
                ui.note(format_args!("{DIM}{reason}; again in {again_in:?}{DIM:#}"));
            }
        };
        let version = env!("CARGO_PKG_VERSION");
        let attended = tokio::select! {
            attended = attend((ticket, &program), version, &scope, &cancel, told) => attended,
            () = signals.stop() => Ok(()),
        };
        if let Err(hung) = scope.shutdown(GRACE).await {
            tracing::warn!(target: "sedge::events::edge_hung", count = hung.count);
        }
        attended.map_err(|it| Failed::of(it.kind(), &it))
    })
}

/// Reads a small file that is open to nobody else by any bit of `closed`.
fn read(path: &Path, closed: u32) -> Result<String, Failed> {
    let failed = |it: &std::io::Error| Failed::io(&format!("cannot read {}", path.display()), it);
    let found = std::fs::metadata(path).map_err(|it| failed(&it))?;
    let mode = found.mode() & 0o777;
    if mode & closed != 0 {
        let text = format!("{} is open to others: its mode is {mode:03o}", path.display());
        return Err(Failed::new(ErrorKind::Denied, text)
            .hint(format!("`chmod go-{} {}`", if closed == OWN { "w" } else { "rwx" }, path.display())));
    }
    if found.len() > MAX_FILE {
        let text = format!("{} has more than 1 MiB", path.display());
        return Err(Failed::new(ErrorKind::Invalid, text));
    }
    std::fs::read_to_string(path).map_err(|it| failed(&it))
}
