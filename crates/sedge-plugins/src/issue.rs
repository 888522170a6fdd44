//! What validation finds, and what it costs.

use sedge_base::ContentId;

use crate::right::RightError;

/// Something that is wrong with a plugin; the message is for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Issue {
    /// The manifest is no manifest.
    #[error("the manifest cannot be read: {reason}")]
    Unreadable {
        /// Where and why.
        reason: String,
    },
    /// A field is not there that has to be.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("`{field}` must be {must_be}")]
    BadField {
        /// The field.
        field: &'static str,
        /// What it must be, in words.
        must_be: &'static str,
    },
    /// A field means nothing here; mostly it is misspelt.
    #[error("`{field}` is no field of a manifest")]
    UnknownField {
        /// The field, shortened to 64 characters.
        field: String,
    },
    /// It asks for what cannot be granted.
    #[error(transparent)]
    Right(#[from] RightError),
    /// It asks for a value that the configuration does not have.
    #[error("it asks for `env:{name}`, and `[plugins.env]` of the configuration has no `{name}`")]
    NoValue {
        /// The name.
        name: String,
    },
    /// Nothing would ever call it.
    #[error("it registers for no hook, so nothing calls it")]
    NoHooks,
    /// The engines of languages count no fuel.
    #[error("`limits.fuel` counts for components, and not for a source file")]
    FuelOfSource,
    /// The entry point is not to be had.
    #[error("the entry point `{path}` {problem}")]
    EntryPoint {
        /// As the manifest has it.
        path: String,
        /// What is wrong, in words.
        problem: &'static str,
    },
    /// The entry point is not what the manifest says.
    #[error("the entry point has the SHA-256 {got}, not {expected}")]
    OtherContent {
        /// What the manifest says.
        expected: ContentId,
        /// What lies there.
        got: ContentId,
    },
    /// It imports what it did not ask for, or what nobody gets.
    #[error("it imports `{import}`: {why}")]
    Risky {
        /// The import.
        import: String,
        /// Why that is refused.
        why: String,
    },
    /// No sandbox of this node takes it.
    #[error("it cannot run here: {reason}")]
    Refused {
        /// The host's words.
        reason: String,
    },
}

impl Issue {
    /// Returns whether a plugin with this issue is refused, whatever its score.
    pub const fn is_fatal(&self) -> bool {
        !matches!(self, Self::UnknownField { .. } | Self::NoHooks | Self::FuelOfSource)
    }

    /// Returns the stable name that machines read, such as `risky_import`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Missing { .. } => "missing_field",
            Self::BadField { .. } => "bad_field",
            Self::UnknownField { .. } => "unknown_field",
            Self::Right(_) => "unknown_right",
            Self::NoValue { .. } => "no_value",
            Self::NoHooks => "no_hooks",
            Self::FuelOfSource => "fuel_of_source",
            Self::EntryPoint { .. } => "entry_point",
            Self::OtherContent { .. } => "other_content",
            Self::Risky { .. } => "risky_import",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Returns the score of a plugin: 100 minus 20 for each issue, and not below 0 (origins 002-13).
pub fn score(issues: &[Issue]) -> u8 {
    let lost = u8::try_from(issues.len()).unwrap_or(u8::MAX).saturating_mul(20);
    100_u8.saturating_sub(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_002_13() {
        let issue = |field: &str| Issue::UnknownField { field: field.to_owned() };
        assert_eq!(score(&[]), 100);
        assert_eq!(score(&[issue("a"), issue("b")]), 60);
        assert_eq!(score(&vec![issue("a"); 6]), 0);
        assert_eq!(score(&vec![issue("a"); 300]), 0);
    }
}
