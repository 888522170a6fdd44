//! `sedge approver`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sedge_base::ErrorKind;
use sedge_trust::Token;
use sedge_trust::approval::ApproverKey;
use sedge_trust::token::{Limit, MAX_TOKEN_BYTES};
use serde_json::json;

use super::approve::Named;
use super::token;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, GOOD, Ui};

/// The name of the file that holds the owner's token.
const TOKEN_FILE: &str = "approver.token";

/// Be somebody who approves: make a key of your own, and keep the token by which the owner names it
///
/// The key may lie where no node runs, such as on a stick: whoever takes over the node can then not
/// approve in your name.
#[derive(Debug, clap::Args)]
pub(crate) struct Approver {
    /// The folder of the key and the token; the home when left out
    #[arg(long, value_name = "DIR")]
    key: Option<PathBuf>,
    /// Keep this token of the owner, or `-` to read it from the standard input
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

impl Approver {
    /// Makes the key if there is none, keeps the token if there is one, and shows both.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let folder = self.key.map_or_else(|| settings.home(), Ok)?;
        let key = ApproverKey::load_or_create(&folder).map_err(|it| Failed::of(it.kind(), &it))?;
        if let Some(text) = self.token {
            let text = token::given(&text)?;
            let token = Token::parse(&text).map_err(|it| Failed::of(it.kind(), &it))?;
            let names = |it: &Limit| match it {
                Limit::Capabilities(names) => names.contains(&key.right()),
                _ => false,
            };
            if !token.blocks().iter().flat_map(|it| &it.limits).any(names) {
                let text = format!("the token does not name `{}`", key.right());
                return Err(Failed::new(ErrorKind::Denied, text));
            }
            keep(&folder.join(TOKEN_FILE), &text)?;
        }
        let has_token = folder.join(TOKEN_FILE).exists();
        let mint = format!("sedge token mint --capability {} --for 30d", key.right());
        let record = json!({
            "key": key.public_key(),
            "right": key.right(),
            "token": has_token,
            "mint": mint,
        });
        ui.result(&record, || {
            let mut text = format!("your key: {BOLD}{}{BOLD:#}\n", key.public_key());
            match has_token {
                true => text.push_str(&format!("{GOOD}the owner's token is here{GOOD:#}\n")),
                false => text.push_str(&format!(
                    "the owner of the swarm types: {BOLD}{mint}{BOLD:#}\n\
                     {DIM}and you, with what that prints: sedge approver --token TOKEN{DIM:#}\n"
                )),
            }
            text
        });
        Ok(())
    }
}

fn keep(path: &Path, text: &str) -> Result<(), Failed> {
    let beside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&beside).and_then(|mut it| {
        it.write_all(text.as_bytes())?;
        it.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(|it| Failed::io(&format!("cannot write {}", path.display()), &it))
}

/// Reads the key and the token of a folder; `None` when one of both is not there.
pub(super) fn named(folder: &Path) -> Result<Named, Failed> {
    let key = ApproverKey::load(folder).map_err(|it| Failed::of(it.kind(), &it))?;
    let path = folder.join(TOKEN_FILE);
    let Some(key) = key.filter(|_| path.exists()) else { return Ok(None) };
    let failed = |it: &std::io::Error| Failed::io(&format!("cannot read {}", path.display()), it);
    let longest = 2 * MAX_TOKEN_BYTES as u64;
    if std::fs::metadata(&path).map_err(|it| failed(&it))?.len() > longest {
        let text = format!("{} holds no token", path.display());
        return Err(Failed::new(ErrorKind::Corrupt, text));
    }
    let text = std::fs::read_to_string(&path).map_err(|it| failed(&it))?;
    let token = Token::parse(text.trim()).map_err(|it| Failed::of(it.kind(), &it))?;
    Ok(Some((key, token)))
}
