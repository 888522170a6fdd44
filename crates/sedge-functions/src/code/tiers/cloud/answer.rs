//! What a cloud says: which machine it has begun, and line by line what a program writes there.

use sedge_sandbox::{Captured, MOST_CHARACTERS};
use serde::Deserialize;

/// The most bytes of a stream that are kept.
const MOST_BYTES: usize = MOST_CHARACTERS * 4;

/// A machine that the cloud has begun.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    #[serde(rename = "sandboxID")]
    sandbox_id: String,
    #[serde(default)]
    envd_access_token: Option<String>,
    #[serde(default)]
    traffic_access_token: Option<String>,
}

impl Machine {
    /// Reads the answer to a beginning; `None` when it names no machine that an address can have.
    pub(crate) fn parse(answer: &[u8]) -> Option<Self> {
        let machine: Self = serde_json::from_slice(answer).ok()?;
        let plain = |it: char| it.is_ascii_alphanumeric() || it == '-';
        let id = &machine.sandbox_id;
        let visible = |it: &str| it.len() <= 4096 && it.chars().all(|it| it.is_ascii_graphic());
        let good = (1..=63).contains(&id.len())
            && id.chars().all(plain)
            && machine.tokens().all(|(_, it)| visible(it));
        good.then_some(machine)
    }

    /// Returns its name: letters, digits and hyphens.
    pub(crate) fn id(&self) -> &str {
        &self.sandbox_id
    }

    /// Returns what it wants to be shown, by header.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let tokens = [
            ("x-access-token", &self.envd_access_token),
            ("e2b-traffic-access-token", &self.traffic_access_token),
        ];
        tokens.into_iter().filter_map(|(name, it)| Some((name, it.as_deref()?)))
    }
}

/// One line of a run.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Stdout {
        text: String,
    },
    Stderr {
        text: String,
    },
    /// The value of the last expression, which a program of its own would not show.
    Result {},
    Error {
        name: String,
        value: String,
        #[serde(default)]
        traceback: String,
    },
    #[serde(other)]
    Other,
}

/// What a run has said so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) stdout: Stream,
    pub(crate) stderr: Stream,
    /// Whether it ended with an error.
    pub(crate) failed: bool,
    /// Whether it was ended because it wrote too much.
    pub(crate) flooded: bool,
}

impl Said {
    /// Takes a line.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(crate) fn hear(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match serde_json::from_slice(line)? {
            Line::Stdout { text } => self.stdout.add(&text),
            Line::Stderr { text } => self.stderr.add(&text),
            Line::Error { name, value, traceback } => {
                self.failed = true;
                let text =
                    if traceback.is_empty() { format!("{name}: {value}") } else { traceback };
                self.stderr.add(&text);
                self.stderr.add("\n");
            }
            Line::Result {} | Line::Other => {}
        }
        Ok(())
    }

    /// Returns how many bytes were written in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.stdout.bytes.saturating_add(self.stderr.bytes)
    }
}

/// The beginning of a stream, and its length.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    kept: Vec<u8>,
    bytes: u64,
}

impl Stream {
    fn add(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        let room = MOST_BYTES.saturating_sub(self.kept.len()).min(text.len());
        self.kept.extend_from_slice(&text.as_bytes()[..room]);
    }

    /// Returns what a caller sees of it.
    pub(crate) fn captured(&self) -> Captured {
        Captured::of(&self.kept, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_machine_s_name_cannot_lead_elsewhere() {
        let parse = |id: &str| Machine::parse(format!("{{\"sandboxID\":\"{id}\"}}").as_bytes());
        assert_eq!(parse("i1x-abc").unwrap().id(), "i1x-abc");
        for id in ["", "a.evil", "a/b", "a@b", "a\\n", &"a".repeat(64)] {
            assert!(parse(id).is_none(), "{id}");
        }
        let split = br#"{"sandboxID":"a","envdAccessToken":"x\r\ny: z"}"#;
        assert!(Machine::parse(split).is_none());
    }

    #[test]
    fn lines_become_two_streams() {
        let mut said = Said::default();
        for line in [
            r#"{"type":"stdout","text":"one\n","timestamp":1}"#,
            r#"{"type":"number_of_executions","execution_count":1}"#,
            r#"{"type":"result","text":"2","is_main_result":true}"#,
            "",
            r#"{"type":"error","name":"ZeroDivisionError","value":"division by zero","traceback":""}"#,
        ] {
            said.hear(line.as_bytes()).unwrap();
        }
        assert!(said.failed);
        assert_eq!(said.stdout.captured().text, "one\n");
        assert_eq!(said.stderr.captured().text, "ZeroDivisionError: division by zero\n");
        assert!(said.hear(b"<html>").is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_refused_or_understood(line: Vec<u8>) {
            drop(Machine::parse(&line));
            drop(Said::default().hear(&line));
        }
    }
}
