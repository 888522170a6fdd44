//! `sedge fix`: a script that fails, and a change with which it passes.

mod attempt;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_functions::code::{CodeResult, CodeStatus, Language, MOST_TEXT};
use sedge_functions::repair::{Finding, Proposal, Rank, Trouble, proposals, review, unified};
use serde::Serialize;

use self::attempt::{Asked, Mender};
use crate::api::Api;
use crate::commands::chat::first_model;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BOLD, DIM, GOOD, Ui, tame};

/// What a passing run proves, and no more.
const PROVEN: &str = "the script ran to its end with exit code 0 in a fresh sandbox; nothing beside its own checks was checked";
/// The most changed scripts that are run.
const MOST_TRIES: u32 = 400;

/// Find a change with which a failing script passes its own checks
///
/// The script runs in a sandbox. Changes that may mend it are generated from its error, and asked of a model; each is
/// run in a fresh sandbox, and the first that passes is shown. The script's own checks, such as asserts, stay as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Fix {
    /// The script; its ending tells the language
    #[arg(value_name = "SCRIPT")]
    script: PathBuf,
    /// Write the change into the script
    #[arg(long)]
    apply: bool,
    /// The most time of one run, from 1s to 300s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::parse)]
    timeout: Duration,
    /// The most generated changes that are run
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=i64::from(MOST_TRIES)))]
    tries: u32,
    /// The model that is asked, too; the first chat model that is offered unless told otherwise
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Ask no model
    #[arg(long, conflicts_with = "model")]
    no_model: bool,
    /// The node that runs the script, by name or id
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    script: PathBuf,
    language: &'static str,
    /// Whether it passes as it is.
    passes: bool,
    trouble: Option<Trouble>,
    findings: Vec<Finding>,
    tried: Tried,
    patch: Option<Patch>,
    proven: Option<&'static str>,
    applied: bool,
}

/// How many changed scripts were run, and what became of the model.
#[derive(Debug, Default, Serialize)]
struct Tried {
    generated: u32,
    model: u32,
    /// Why the model's answer was not run, or did not come.
    model_said: Option<String>,
}

/// A change that passes.
#[derive(Debug, Serialize)]
struct Patch {
    diff: String,
    /// `generated`, or `model`.
    from: &'static str,
    model: Option<String>,
    what: String,
    sandbox: Option<&'static str>,
    node_name: String,
    receipt: String,
    #[serde(skip)]
    code: String,
}

impl Fix {
    /// Looks for a change.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let language = language(&self.script)?;
        let source = read(&self.script)?;
        let mender = Mender { api: &api, on: self.on.as_deref(), language, timeout: self.timeout };
        let first = mender.fails(&source)?;
        let mut report = Report {
            script: self.script.clone(),
            language: language.name(),
            passes: first.status == CodeStatus::Success,
            trouble: None,
            findings: review(language, &source),
            tried: Tried::default(),
            patch: None,
            proven: None,
            applied: false,
        };
        if first.status == CodeStatus::SetupError {
            let message = first.error_message.unwrap_or_else(|| "nothing can run it here".to_owned());
            return Err(Failed::new(ErrorKind::Unsupported, message));
        }
        if !report.passes {
            let trouble = trouble(language, &first);
            report.patch = self.search(&mender, &source, &trouble, &mut report)?;
            report.trouble = Some(trouble);
            report.proven = report.patch.is_some().then_some(PROVEN);
        }
        if let Some(patch) = report.patch.as_ref().filter(|_| self.apply) {
            write(&self.script, &source, &patch.code)?;
            report.applied = true;
        }
        ui.result(&report, || words(&report));
        if report.passes || report.patch.is_some() { Ok(()) } else { Err(none_found(&report.tried)) }
    }

    /// Runs what the error itself points to first, then what a model says, then what is left.
    fn search(
        &self,
        mender: &Mender<'_>,
        source: &str,
        trouble: &Trouble,
        report: &mut Report,
    ) -> Result<Option<Patch>, Failed> {
        let all = proposals(mender.language, source, trouble);
        let (named, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.rank == Rank::Named);
        if let Some(patch) = self.first_passing(mender, source, &named, &mut report.tried)? {
            return Ok(Some(patch));
        }
        if !self.no_model
            && let Some(patch) = self.by_model(mender, source, trouble, report)?
        {
            return Ok(Some(patch));
        }
        self.first_passing(mender, source, &others, &mut report.tried)
    }

    fn first_passing(
        &self,
        mender: &Mender<'_>,
        source: &str,
        proposals: &[Proposal],
        tried: &mut Tried,
    ) -> Result<Option<Patch>, Failed> {
        for Proposal { code, what, .. } in proposals {
            if tried.generated == self.tries {
                break;
            }
            tried.generated += 1;
            if let Some((result, told)) = mender.passes(code)? {
                return Ok(Some(Patch {
                    diff: unified(&self.script.display().to_string(), source, code),
                    from: "generated",
                    model: None,
                    what: what.clone(),
                    sandbox: result.destination.map(|it| it.name()),
                    node_name: told.node_name,
                    receipt: told.receipt,
                    code: code.clone(),
                }));
            }
        }
        Ok(None)
    }

    fn by_model(
        &self,
        mender: &Mender<'_>,
        source: &str,
        trouble: &Trouble,
        report: &mut Report,
    ) -> Result<Option<Patch>, Failed> {
        let tried = &mut report.tried;
        let model = match &self.model {
            Some(model) => model.clone(),
            None => match first_model(mender.api, None) {
                Ok(model) => model,
                Err(none) => {
                    tried.model_said = Some(none.message);
                    return Ok(None);
                }
            },
        };
        let code = match mender.ask(&model, source, trouble, &report.findings) {
            Asked::Script(code) => code,
            Asked::Unfit(why) => {
                tried.model_said = Some(format!("{model}: {why}"));
                return Ok(None);
            }
        };
        tried.model += 1;
        let Some((result, told)) = mender.passes(&code)? else {
            tried.model_said = Some(format!("{model}: its script fails, too"));
            return Ok(None);
        };
        Ok(Some(Patch {
            diff: unified(&self.script.display().to_string(), source, &code),
            from: "model",
            what: format!("a script that {model} wrote"),
            model: Some(model),
            sandbox: result.destination.map(|it| it.name()),
            node_name: told.node_name,
            receipt: told.receipt,
            code,
        }))
    }
}

fn language(script: &Path) -> Result<Language, Failed> {
    let ending = script.extension().and_then(|it| it.to_str());
    ending.and_then(Language::of_ending).ok_or_else(|| {
        Failed::new(ErrorKind::Invalid, "the script's ending tells no language")
            .hint("such as .py or .js")
    })
}

fn read(script: &Path) -> Result<String, Failed> {
    let what = format!("cannot read {}", script.display());
    let bytes = fs::metadata(script).map_err(|err| Failed::io(&what, &err))?.len();
    if bytes > MOST_TEXT {
        let message = format!("the script has {bytes} bytes, at most {MOST_TEXT} are taken");
        return Err(Failed::new(ErrorKind::Invalid, message));
    }
    fs::read_to_string(script).map_err(|err| Failed::io(&what, &err))
}

/// Writes the changed script, unless somebody else has changed it meanwhile.
fn write(script: &Path, before: &str, after: &str) -> Result<(), Failed> {
    if read(script)? != before {
        let message = format!("{} has changed meanwhile and is left as it is", script.display());
        return Err(Failed::new(ErrorKind::Conflict, message));
    }
    fs::write(script, after)
        .map_err(|err| Failed::io(&format!("cannot write {}", script.display()), &err))
}

fn trouble(language: Language, result: &CodeResult) -> Trouble {
    let mut trouble = Trouble::of(language, &result.stderr, result.error_message.as_deref());
    if result.status == CodeStatus::Timeout {
        trouble.kind = "Timeout".to_owned();
    }
    trouble
}

fn none_found(tried: &Tried) -> Failed {
    let Tried { generated, model, model_said } = tried;
    let mut message =
        format!("no change was found with which it passes: {generated} generated and {model} of a model were run");
    if let Some(said) = model_said {
        message.push_str(&format!(" ({said})"));
    }
    Failed::new(ErrorKind::Failed, message)
}

fn words(report: &Report) -> String {
    let Report { script, findings, tried, .. } = report;
    let mut text = String::new();
    let Some(trouble) = &report.trouble else {
        return format!("{GOOD}ok{GOOD:#}  {} passes as it is", script.display());
    };
    let at = trouble.lines.first().map_or_else(String::new, |it| format!(" at line {it}"));
    text.push_str(&format!("{BOLD}{}{BOLD:#}{at}: {}\n", trouble.kind, tame(&trouble.message)));
    for Finding { line, what } in findings {
        text.push_str(&format!("{DIM}line {line}: {what}{DIM:#}\n"));
    }
    if let Some(patch) = &report.patch {
        let sandbox = patch.sandbox.unwrap_or("no");
        let Tried { generated, model, .. } = tried;
        text.push_str(&format!("\n{}\n", tame(&patch.diff)));
        text.push_str(&format!("from: {}: {}\n", patch.from, tame(&patch.what)));
        text.push_str(&format!("tried: {generated} generated, {model} of a model\n"));
        text.push_str(&format!("proven: {PROVEN} ({sandbox}, on {})\n", patch.node_name));
        text.push_str(if report.applied { "written" } else { "`--apply` writes it" });
    }
    text
}
