//! `sedge doctor`.

use std::path::Path;

use sedge_base::ErrorKind;
use sedge_node::{Finding, Home, examine_home};

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BAD, BOLD, DIM, GOOD, Ui};

/// Less free space than this is told, in bytes.
const SPACE: u64 = 64 << 20;

/// Look for faults: of this home, its node and the machines around it, each with the next step
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {}

impl Doctor {
    /// Examines; fails when something does not work.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let home = settings.home()?;
        let mut findings = examine_home(&home);
        findings.extend(space(&home));
        // A node that has announced itself knows more, if it answers.
        let gone = |it: &Finding| matches!(it.code.as_str(), "node_died" | "not_running");
        if !findings.iter().any(gone) && Home::running(&home).is_ok_and(|it| it.is_some()) {
            match Api::of_home(&home).and_then(|api| api.quickly("doctor")) {
                Ok(more) => findings.extend::<Vec<Finding>>(more),
                Err(failed) => findings.push(unanswered(&failed)),
            }
        }
        findings.sort_by_key(|it| !it.grave);
        ui.result(&findings, || words(&findings));
        let grave = findings.iter().filter(|it| it.grave).count();
        match grave {
            0 => Ok(()),
            1 => Err(Failed::new(ErrorKind::Failed, "there is a fault")),
            many => Err(Failed::new(ErrorKind::Failed, format!("there are {many} faults"))),
        }
    }
}

fn unanswered(failed: &Failed) -> Finding {
    let (code, step) = match failed.kind {
        ErrorKind::Unauthenticated => {
            ("api_key_differs", "restart the node: it read another api.key when it started")
        }
        _ => ("not_answering", "look at its log; `sedge down`, or end the process by its id, then `sedge up`"),
    };
    finding(code, "API", failed.message.clone(), step)
}

fn finding(code: &str, subject: &str, message: String, step: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        subject: subject.to_owned(),
        message,
        next_step: step.to_owned(),
        grave: true,
    }
}

fn space(home: &Path) -> Option<Finding> {
    let found = rustix::fs::statvfs(home).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    (free < SPACE).then(|| {
        let text = format!("only {} MiB are left on its disk", free >> 20);
        finding("disk_nearly_full", &home.display().to_string(), text, "free space there")
    })
}

fn words(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{GOOD}nothing is wrong{GOOD:#}\n");
    }
    let mut text = String::new();
    for it in findings {
        let Finding { code, subject, message, next_step, grave } = it;
        let mark = if *grave { format!("{BAD}fault{BAD:#}") } else { format!("{DIM}note {DIM:#}") };
        text.push_str(&format!(
            "{mark}  {BOLD}{subject}{BOLD:#}: {message}  {DIM}{code}{DIM:#}\n       {next_step}\n"
        ));
    }
    text
}
