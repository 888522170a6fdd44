//! Chores of the workspace: `cargo xtask tidy | rows [--json] | spread`.
//!
//! Invariant: no command changes a file. What `tidy` finds is also found by `cargo test -p xtask`.

mod cargo;
mod checks;
mod manifest;
mod rows;
mod rust_text;
mod spread;
mod tidy;
mod tree;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  tidy            check the house rules; the same checks run in `cargo test -p xtask`
  rows [--json]   list the capability rows and which of them have an acceptance check
  spread          count the production files that the last additions of each kind touched
";

/// Why a chore could not be done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Tree(#[from] tree::TreeError),
    #[error(transparent)]
    Rows(#[from] rows::RowsError),
    #[error(transparent)]
    Spread(#[from] spread::SpreadError),
    #[error("cannot write the answer")]
    Write(#[from] std::io::Error),
}

/// Returns the folder that holds the workspace's manifest.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn run(args: &[&str], out: &mut dyn Write) -> Result<bool, Trouble> {
    let root = workspace_root();
    match args {
        ["tidy"] => Ok(tidy::print(&tree::Tree::read(&root)?, out)?),
        ["rows"] => Ok(rows::print(&tree::Tree::read(&root)?, rows::Form::Table, out)?),
        ["rows", "--json"] => Ok(rows::print(&tree::Tree::read(&root)?, rows::Form::Json, out)?),
        ["spread"] => Ok(spread::print(&root, out)?),
        [] | ["help" | "--help" | "-h"] => {
            out.write_all(USAGE.as_bytes())?;
            Ok(true)
        }
        _ => {
            out.write_all(USAGE.as_bytes())?;
            Ok(false)
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    match run(&args, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&err);
            let mut line = String::from("error");
            while let Some(it) = cause {
                line = format!("{line}: {it}");
                cause = it.source();
            }
            drop(writeln!(std::io::stderr(), "{line}"));
            ExitCode::FAILURE
        }
    }
}
