//! A person's yes or no to one run of one tool, which whoever runs the tool checks offline.
//!
//! An approval is signed by the swarm's owner, or by a key that a token of the owner names expressly
//! as `approver:<key>`. It is for one place, one capability, one set of arguments, a few minutes and
//! one use: the one who runs the tool remembers the nonce. Nothing that a model, a door or a node
//! says stands in for it.
//!
//! What a person is asked is a [`Question`]; its nonce belongs to it, so that a question that two
//! people answer, or one answers twice, still runs once.

mod right;

pub use right::{APPROVER_FILE, ApproverKey, RightError};

use std::time::Duration;

use sedge_base::{ContentId, ErrorKind, NodeId, SwarmId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError, ReadError};
use crate::signature::{BadSignature, Nonce, Signature, verify};
use crate::swarm::Owner;
use crate::token::{Token, TokenError};

/// How long a person may think, and how long an approval holds, unless less is said.
pub const APPROVAL_LIFE: Duration = Duration::from_secs(5 * 60);

/// How far the clock of whoever signed may be ahead.
pub const APPROVAL_AHEAD: Duration = Duration::from_secs(60);

/// The longest arguments that a person is asked about, in bytes of their canonical form.
pub const MAX_ARGUMENTS: usize = 16 << 10;

/// The longest approval, in bytes of its canonical form.
pub const MAX_APPROVAL_BYTES: usize = 32 << 10;

/// The longest name of a place or a capability, in bytes.
const MAX_NAME: usize = 256;

/// What a person is asked: may this run?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The swarm.
    pub swarm_id: SwarmId,
    /// Who runs it, such as `edge:kitchen`; 1 to 256 bytes.
    pub runs_on: String,
    /// What is run, such as `edge:kitchen.camera`; 1 to 256 bytes.
    pub capability: String,
    /// SHA-256 of the RFC 8785 form of the arguments; see [`canonical_arguments`].
    pub arguments: ContentId,
    /// The node that was asked to run it.
    pub asked_by: NodeId,
    /// For one use.
    pub nonce: Nonce,
}

/// What the person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may run, once.
    Granted,
    /// It may not.
    Refused,
}

/// The version of the record's form; a field, so that it is signed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// The first form.
    #[default]
    #[serde(rename = "sedge-approval/1")]
    V1,
}

/// The facts of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The form of this record.
    pub version: Version,
    /// What was asked.
    pub question: Question,
    /// What was said.
    pub decision: Decision,
    /// The public key of whoever said it.
    pub approver: NodeId,
    /// The owner's token that names this key as an approver; `None` for the owner's own key.
    pub right: Option<String>,
    /// When it was said.
    pub issued_at: Timestamp,
    /// From when on it is void.
    pub expires_at: Timestamp,
}

/// A person's yes or no, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The facts.
    pub facts: Facts,
    /// By `facts.approver`, over the RFC 8785 form of `facts`.
    pub signature: Signature,
}

/// Who says yes or no.
#[derive(Debug, Clone, Copy)]
pub enum Approver<'a> {
    /// The owner of the swarm.
    Owner(&'a Owner),
    /// Whoever the owner's token names.
    Named(&'a ApproverKey, &'a Token),
}

/// Why a decision cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// The token cannot be written.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A number is too large for JSON.
    #[error("the approval cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl DecideError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Token(it) => it.kind(),
            Self::Canonical(it) => it.kind(),
        }
    }
}

impl Approver<'_> {
    /// Returns the public key of whoever says it.
    pub fn public_key(&self) -> NodeId {
        match self {
            Self::Owner(owner) => owner.public_key(),
            Self::Named(key, _) => key.public_key(),
        }
    }

    /// Signs a decision that holds for [`APPROVAL_LIFE`].
    ///
    /// # Errors
    ///
    /// [`DecideError`] when it cannot be written down.
    pub fn decide(
        &self,
        question: Question,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Approval, DecideError> {
        let right = match self {
            Self::Owner(_) => None,
            Self::Named(_, token) => Some(token.to_text()?),
        };
        let facts = Facts {
            version: Version::V1,
            question,
            decision,
            approver: self.public_key(),
            right,
            issued_at: now,
            expires_at: now.plus(APPROVAL_LIFE),
        };
        let text = canonical::jcs(&facts)?;
        let signature = match self {
            Self::Owner(owner) => owner.sign(&text),
            Self::Named(key, _) => key.sign(&text),
        };
        Ok(Approval { facts, signature })
    }
}

/// What somebody is about to run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Who runs it, as in [`Question::runs_on`].
    pub runs_on: &'a str,
    /// What is run, as in [`Question::capability`].
    pub capability: &'a str,
    /// SHA-256 of the RFC 8785 form of the arguments that it gets.
    pub arguments: ContentId,
}

/// Why an approval does not hold, or not for this run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// A name in it is empty or too long, or it holds for longer than an approval may.
    #[error("the approval is malformed, or holds for more than five minutes")]
    Form,
    /// It is for another swarm.
    #[error("the approval is for another swarm, {named:?}")]
    OtherSwarm {
        /// The swarm that it names.
        named: SwarmId,
    },
    /// Whoever signed it may not approve.
    #[error("the approver was not given the right to approve")]
    Right(#[from] RightError),
    /// It was not signed by the key that it names.
    #[error("the approval was not signed by the approver that it names")]
    Signature(#[source] BadSignature),
    /// It is over.
    #[error("the approval ended at {at}")]
    Expired {
        /// When it ended.
        at: Timestamp,
    },
    /// It was signed in the future.
    #[error("the approval is dated {at}, which is not yet")]
    NotYet {
        /// Its date.
        at: Timestamp,
    },
    /// The person said no.
    #[error("the approver said no")]
    Refused,
    /// It is for somebody else to run.
    #[error("the approval is for `{named}` to run")]
    OtherPlace {
        /// Who it names.
        named: String,
    },
    /// It is for another capability.
    #[error("the approval is for `{named}`")]
    OtherCapability {
        /// What it names.
        named: String,
    },
    /// It is for other arguments.
    #[error("the approval is for other arguments")]
    OtherArguments,
    /// A number is too large for JSON.
    #[error("the approval cannot be written down")]
    Canonical(#[from] CanonicalError),
}

impl ApprovalError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Form | Self::Canonical(_) => ErrorKind::Invalid,
            Self::Signature(it) => it.kind(),
            Self::Right(it) => it.kind(),
            _ => ErrorKind::Denied,
        }
    }
}

impl Approval {
    /// Reads an approval from its RFC 8785 form; any other spelling is refused. Nothing is
    /// authenticated by this.
    ///
    /// # Errors
    ///
    /// [`ReadError`] when the bytes are too many, or no approval.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        canonical::read_jcs(bytes, MAX_APPROVAL_BYTES)
    }

    /// Returns the RFC 8785 form.
    ///
    /// # Errors
    ///
    /// [`CanonicalError`] when a number is too large for JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::jcs(self)
    }

    /// Checks who signed it, by which right, and whether it holds now: whatever was decided.
    ///
    /// `owner` is the owner's public key, known from elsewhere.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`], which says why it does not hold.
    pub fn verify(&self, owner: &NodeId, now: Timestamp) -> Result<(), ApprovalError> {
        let Self { facts, signature } = self;
        let Facts { question, approver, right, issued_at, expires_at, .. } = facts;
        let short = |it: &str| (1..=MAX_NAME).contains(&it.len());
        let life = expires_at.as_millis().checked_sub(issued_at.as_millis());
        let brief = life.is_some_and(|it| u128::from(it) <= APPROVAL_LIFE.as_millis());
        if !(short(&question.runs_on) && short(&question.capability) && brief) {
            return Err(ApprovalError::Form);
        }
        if question.swarm_id != SwarmId::of_key(owner.as_bytes()) {
            return Err(ApprovalError::OtherSwarm { named: question.swarm_id });
        }
        match right {
            None if approver == owner => {}
            None => return Err(RightError::Missing.into()),
            Some(text) => right::check(text, approver, owner, now)?,
        }
        verify(approver, &canonical::jcs(facts)?, signature).map_err(ApprovalError::Signature)?;
        if *expires_at <= now {
            return Err(ApprovalError::Expired { at: *expires_at });
        }
        if *issued_at > now.plus(APPROVAL_AHEAD) {
            return Err(ApprovalError::NotYet { at: *issued_at });
        }
        Ok(())
    }

    /// Checks that it lets this very run happen now. Whether its nonce was used before is for the
    /// one who runs it to know.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`], which says why it does not.
    pub fn permits(
        &self,
        run: Run<'_>,
        owner: &NodeId,
        now: Timestamp,
    ) -> Result<(), ApprovalError> {
        self.verify(owner, now)?;
        let Facts { question, decision, .. } = &self.facts;
        if *decision != Decision::Granted {
            return Err(ApprovalError::Refused);
        }
        if question.runs_on != run.runs_on {
            return Err(ApprovalError::OtherPlace { named: question.runs_on.clone() });
        }
        if question.capability != run.capability {
            return Err(ApprovalError::OtherCapability { named: question.capability.clone() });
        }
        if question.arguments != run.arguments {
            return Err(ApprovalError::OtherArguments);
        }
        Ok(())
    }
}

/// Why nobody can be asked about arguments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentsError {
    /// They are no JSON.
    #[error("the arguments are not JSON")]
    NotJson(#[source] serde_json::Error),
    /// They have no canonical form.
    #[error("the arguments have no canonical form")]
    Canonical(#[from] CanonicalError),
    /// They are longer than a person is asked about.
    #[error("a person is asked about at most {MAX_ARGUMENTS} bytes of arguments")]
    TooLong,
}

impl ArgumentsError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotJson(_) | Self::Canonical(_) => ErrorKind::Invalid,
            Self::TooLong => ErrorKind::Exhausted,
        }
    }
}

/// Returns the RFC 8785 form of arguments, and what an approval calls them by.
///
/// A tool that runs with an approval gets this form and no other spelling: two readers of one text
/// could understand it differently, such as a key that is there twice.
///
/// # Errors
///
/// [`ArgumentsError`] when they are no JSON, or too long.
pub fn canonical_arguments(json: &[u8]) -> Result<(Vec<u8>, ContentId), ArgumentsError> {
    if json.len() > 4 * MAX_ARGUMENTS {
        return Err(ArgumentsError::TooLong);
    }
    let value: serde_json::Value = serde_json::from_slice(json).map_err(ArgumentsError::NotJson)?;
    let text = canonical::jcs(&value)?;
    if text.len() > MAX_ARGUMENTS {
        return Err(ArgumentsError::TooLong);
    }
    let id = ContentId::of(&text);
    Ok((text, id))
}

#[cfg(test)]
mod tests;
