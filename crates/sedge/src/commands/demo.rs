//! `sedge demo`: the whole story on one machine, with nothing staged.
//!
//! Every step checks what it shows; the first that does not hold ends the demo with its exit code.

mod stage;
mod steps;

use std::time::Duration;

use sedge_node::Config;
use serde::Serialize;
use tokio::time::Instant;

use crate::commands::up;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, GOOD, Ui, spoken};
pub(crate) use stage::Stage;
pub(crate) use steps::{invite, join, offering, pair as join_all, until_all_online};

/// Start three nodes, pair them, run a component, ask a model, verify every receipt
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {}

/// A step that was done and checked.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    checked: bool,
    took_ms: u64,
    says: String,
}

/// The demo so far.
struct Story {
    ui: Ui,
    steps: u32,
    began: Instant,
}

impl Story {
    /// Does a step, and tells it when it is done and checked.
    fn step(
        &mut self,
        step: &'static str,
        work: impl FnOnce() -> Result<String, Failed>,
    ) -> Result<(), Failed> {
        let began = Instant::now();
        let says = work().map_err(|failed| Failed {
            message: format!("{step}: {}", failed.message),
            ..failed
        })?;
        self.steps += 1;
        let took = began.elapsed();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let number = self.steps;
        self.ui.result(&Step { step, checked: true, took_ms, says: says.clone() }, || {
            let says = says.trim_end().replace('\n', "\n     ");
            format!("{GOOD}✓{GOOD:#} {number:>2}  {BOLD}{step}{BOLD:#}  {DIM}{}{DIM:#}\n     {says}", spoken(took))
        });
        Ok(())
    }
}

impl Demo {
    /// Tells the story.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let ui = *ui;
        let mut story = Story { ui, steps: 0, began: Instant::now() };
        let cache = settings.cache()?;
        let models = settings.models()?;
        story.step("models are here", || {
            fetch_models(settings, ui)?;
            Ok(format!("checked by SHA-256, in {}", models.display()))
        })?;
        let mut stage = Stage::build()?;
        let told = Self::tell(&mut story, &mut stage, &cache, ui);
        // The nodes go down in any case; a stop that fails counts only if all else went well.
        let stopped = story.step("nodes stopped", || stage.stop());
        told.and(stopped)?;
        let took = story.began.elapsed();
        let steps = story.steps;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        ui.result(&serde_json::json!({ "passed": true, "steps": steps, "took_ms": took_ms }), || {
            format!("{GOOD}all {steps} steps done and checked{GOOD:#} in {}", spoken(took))
        });
        Ok(())
    }

    fn tell(
        story: &mut Story,
        stage: &mut Stage,
        cache: &std::path::Path,
        ui: Ui,
    ) -> Result<(), Failed> {
        story.step("three nodes started", || steps::start(stage, cache))?;
        story.step("paired with spoken codes", || steps::pair(stage))?;
        story.step("component deployed to all", || steps::deploy(stage))?;
        story.step("called on a remote node", || steps::call_remote(stage))?;
        story.step("called on any node", || steps::call_any(stage))?;
        story.step("asked where no model is", || steps::ask(stage, ui))?;
        story.step("why there", || steps::why(stage))?;
        story.step("receipts verified offline", || steps::verify(stage))?;
        Ok(())
    }
}

/// How long a condition on this machine may take to come true.
const SOON: Duration = Duration::from_secs(30);

/// Brings the default models here.
pub(crate) fn fetch_models(settings: &Settings, ui: Ui) -> Result<(), Failed> {
    let config = Config::parse("", "the default configuration")
        .map_err(|err| Failed::of(err.kind(), &err))?;
    up::fetch(&config, &settings.models()?, ui)
}
