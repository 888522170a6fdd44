//! A failure at the edge: text for people, a kind for the exit code, and the next step.

use std::error::Error;

use sedge_base::ErrorKind;
use sedge_node::WayFailed;
use sedge_server::ErrorRecord;

/// Why a command failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    /// Decides the exit code.
    pub(crate) kind: ErrorKind,
    /// The stable name of this very failure, when a node told it.
    pub(crate) code: Option<String>,
    /// What happened, with its causes.
    pub(crate) message: String,
    /// The next step.
    pub(crate) hint: Option<String>,
    /// The ways to another node that were tried.
    pub(crate) ways: Vec<WayFailed>,
}

impl Failed {
    /// Makes a failure out of words.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), hint: None, ways: Vec::new() }
    }

    /// Makes a failure out of an error and everything that caused it.
    pub(crate) fn of(kind: ErrorKind, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self::new(kind, message)
    }

    /// Makes a failure of writing or reading something of this machine.
    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, format!("{what}: {error}"))
    }

    /// Adds the next step.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the next step, if there is one.
    #[must_use]
    pub(crate) fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

impl From<ErrorRecord> for Failed {
    fn from(record: ErrorRecord) -> Self {
        let ErrorRecord { kind, code, message, hint, ways } = record;
        Self { kind, code: Some(code), message, hint, ways }
    }
}
