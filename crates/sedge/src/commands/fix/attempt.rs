//! One script in one fresh sandbox; one question to a model.

use std::time::Duration;

use sedge_functions::code::{CodeResult, CodeStatus, Language, PREFIX};
use sedge_functions::repair::{Finding, Trouble, code_of, keeps_checks, prompt};
use serde_json::json;

use crate::api::{Api, decode, segment};
use crate::commands::call::Told;
use crate::failed::Failed;

/// The most tokens of a model's answer.
const MOST_TOKENS: usize = 4096;

/// What runs scripts and asks models.
pub(super) struct Mender<'a> {
    pub(super) api: &'a Api,
    pub(super) on: Option<&'a str>,
    pub(super) language: Language,
    pub(super) timeout: Duration,
}

/// What a model said.
pub(super) enum Asked {
    /// A script that is worth a run.
    Script(String),
    /// Nothing to run, and why.
    Unfit(String),
}

impl Mender<'_> {
    /// Runs the script as it is.
    ///
    /// A sandbox that breaks off without a word is no use here; another one tells more where there is one.
    pub(super) fn fails(&self, code: &str) -> Result<CodeResult, Failed> {
        let (first, _) = self.run(code, "auto")?;
        if first.status != CodeStatus::Error || !first.stderr.trim().is_empty() {
            return Ok(first);
        }
        Ok(match self.run(code, "native") {
            Ok((second, _)) if second.status == CodeStatus::Error => second,
            _ => first,
        })
    }

    /// Runs a changed script; returns how it went when it passes.
    pub(super) fn passes(&self, code: &str) -> Result<Option<(CodeResult, Told)>, Failed> {
        Ok(Some(self.run(code, "auto")?).filter(|it| it.0.status == CodeStatus::Success))
    }

    fn run(&self, code: &str, sandbox: &str) -> Result<(CodeResult, Told), Failed> {
        let input = json!({
            "code": code,
            "timeout": self.timeout.as_secs_f64(),
            "sandbox": sandbox,
        });
        let path = format!("functions/{}/call", segment(&format!("{PREFIX}{}", self.language)));
        let raw = self.api.call(&path, self.on, input.to_string().as_bytes())?;
        let told = Told::of(&raw);
        match raw.failed {
            Some(failed) if failed.code.as_deref() == Some("unknown_capability") => {
                let hint = format!("install {} on a machine and start its node again", self.language.package());
                Err(failed.hint(hint))
            }
            Some(failed) => Err(failed),
            None => Ok((decode(&raw.body)?, told)),
        }
    }

    /// Asks a model for the whole script, mended.
    pub(super) fn ask(
        &self,
        model: &str,
        source: &str,
        trouble: &Trouble,
        findings: &[Finding],
    ) -> Asked {
        let text = prompt(self.language, source, trouble, findings);
        let body = json!({
            "model": model,
            "messages": [{ "role": "user", "content": text }],
            "stream": true,
            "temperature": 0,
            "max_tokens": (source.len() / 2 + 64).min(MOST_TOKENS),
        });
        let mut answer = String::new();
        let asked = self.api.chat(&body, None, |event| {
            answer.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        });
        if let Err(failed) = asked {
            return Asked::Unfit(failed.message);
        }
        match code_of(&answer) {
            None => Asked::Unfit("its answer has no script".to_owned()),
            Some(code) if code == source => Asked::Unfit("its script is the same".to_owned()),
            Some(code) if !keeps_checks(self.language, source, &code, trouble) => {
                Asked::Unfit("its script leaves out a check".to_owned())
            }
            Some(code) => Asked::Script(code),
        }
    }
}
