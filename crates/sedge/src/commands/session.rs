//! `sedge session`: files that several runs of code share.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use sedge_base::ErrorKind;
use sedge_functions::code::{SESSION, SessionAsk};
use serde_json::Value;

use crate::api::{Api, decode, segment};
use crate::commands::call::Told;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::Ui;

/// Keep files between runs of code: a folder on one node
#[derive(Debug, clap::Args)]
pub(crate) struct Session {
    #[command(subcommand)]
    what: What,
}

/// What to do with a session.
#[derive(Debug, Subcommand)]
enum What {
    /// Open a session; it lives until it is closed or its node stops
    Open {
        /// The node, by name or id
        #[arg(long, value_name = "NODE", default_value = "here")]
        on: String,
    },
    /// Bring a file up
    Put {
        /// The session
        session: String,
        /// The file here
        file: PathBuf,
        /// Its path in the session; its own name unless told otherwise
        path: Option<String>,
    },
    /// Bring a file down
    Get {
        /// The session
        session: String,
        /// Its path in the session
        path: String,
        /// The file to write; the standard output when left out
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the files
    List {
        /// The session
        session: String,
    },
    /// Close a session and forget its files
    Close {
        /// The session
        session: String,
    },
}

/// Returns the beginning of the id of a session's node.
pub(crate) fn node_of(session: &str) -> Option<&str> {
    session.split_once('-').map(|(node, _)| node).filter(|it| it.len() >= 4)
}

impl Session {
    /// Does it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.what {
            What::Open { on } => {
                let mut opened = ask(&api, Some(&on), &SessionAsk::Open {})?;
                let words = opened["session_id"].as_str().unwrap_or_default().to_owned();
                ui.result(&opened.take(), || words);
            }
            What::Put { session, file, path } => {
                let bytes = std::fs::read(&file)
                    .map_err(|err| Failed::io(&format!("cannot read {}", file.display()), &err))?;
                let name = || Some(file.file_name()?.to_str()?.to_owned());
                let path = path.or_else(name).ok_or_else(|| {
                    Failed::new(ErrorKind::Invalid, "the file has no name that a session can have")
                })?;
                let node = node_of(&session).map(str::to_owned);
                let content = STANDARD.encode(bytes);
                let put = SessionAsk::Put { session_id: session, path, content };
                let put = ask(&api, node.as_deref(), &put)?;
                ui.result(&put, || format!("{} bytes", put["bytes"]));
            }
            What::Get { session, path, output } => {
                let node = node_of(&session).map(str::to_owned);
                let get = SessionAsk::Get { session_id: session, path };
                let got = ask(&api, node.as_deref(), &get)?;
                let content = STANDARD.decode(got["content"].as_str().unwrap_or_default());
                let content = content.map_err(|err| {
                    Failed::new(ErrorKind::Internal, format!("the node's answer is broken: {err}"))
                })?;
                match output {
                    Some(file) => std::fs::write(&file, content).map_err(|err| {
                        Failed::io(&format!("cannot write {}", file.display()), &err)
                    })?,
                    None if ui.is_json() => ui.result(&got, String::new),
                    None => ui.strange(&content),
                }
            }
            What::List { session } => {
                let node = node_of(&session).map(str::to_owned);
                let listed = ask(&api, node.as_deref(), &SessionAsk::List { session_id: session })?;
                ui.result(&listed["files"], || lines(&listed["files"]));
            }
            What::Close { session } => {
                let node = node_of(&session).map(str::to_owned);
                let closed = ask(&api, node.as_deref(), &SessionAsk::Close { session_id: session })?;
                ui.result(&closed, || "closed".to_owned());
            }
        }
        Ok(())
    }
}

fn lines(files: &Value) -> String {
    let files = files.as_array().into_iter().flatten();
    let line = |it: &Value| format!("{:>10}  {}", it["bytes"], it["path"].as_str().unwrap_or_default());
    files.map(line).collect::<Vec<_>>().join("\n")
}

/// Asks the node that has the session.
fn ask(api: &Api, on: Option<&str>, ask: &SessionAsk) -> Result<Value, Failed> {
    let input = serde_json::to_vec(ask)
        .map_err(|err| Failed::new(ErrorKind::Internal, format!("unwritable request: {err}")))?;
    let raw = api.call(&format!("functions/{}/call", segment(SESSION)), on, &input)?;
    let told = Told::of(&raw);
    if let Some(failed) = raw.failed {
        return Err(failed);
    }
    let mut answer: Value = decode(&raw.body)?;
    answer["node"] = told.node.into();
    answer["node_name"] = told.node_name.into();
    Ok(answer)
}
