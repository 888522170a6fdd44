//! `sedge audit`.

use sedge_node::{AuditLine, AuditTrail};
use serde_json::Value;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{DIM, Table, Ui};

/// Show what somebody may have to answer for: who was refused, banned, approved, or lied
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    /// How many of the newest entries, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

impl Audit {
    /// Shows it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let trail: AuditTrail = api.get(&format!("audit?limit={}", self.limit))?;
        ui.result(&trail, || words(&trail));
        Ok(())
    }
}

fn words(trail: &AuditTrail) -> String {
    let AuditTrail { entries, gone } = trail;
    if entries.is_empty() {
        return "nothing to answer for yet".to_owned();
    }
    let mut table = Table::new(["number", "when", "what", "about", "detail"]);
    for AuditLine { number, at, kind, subject, detail } in entries {
        let short: String = subject.chars().take(16).collect();
        table.row([number.to_string(), at.to_string(), kind.clone(), short, spoken(detail)]);
    }
    let mut text = table.text();
    if *gone > 0 {
        text.push_str(&format!("{DIM}{gone} older entries made room{DIM:#}\n"));
    }
    text
}

/// Writes the plain facts of an entry on one line.
fn spoken(detail: &Value) -> String {
    let Value::Object(facts) = detail else { return detail.to_string() };
    let shown = facts.iter().filter_map(|(name, fact)| match fact {
        Value::String(text) => Some(format!("{name}: {text}")),
        Value::Number(number) => Some(format!("{name}: {number}")),
        _ => None,
    });
    let line: String = shown.collect::<Vec<_>>().join(", ");
    line.chars().take(120).collect()
}
