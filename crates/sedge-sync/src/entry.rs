//! What a member said about one key, signed.

use sedge_base::{ContentId, ErrorKind, NodeId, SwarmId};
use sedge_trust::canonical::{CanonicalError, jcs};
use sedge_trust::{BadSignature, Identity, Signature, verify};
use serde::{Deserialize, Serialize};

use crate::sealed::{GRANTS, granted};
use crate::space::Space;
use crate::state::State;
use crate::value::{Value, ValueError, check_name};

/// What the signature is over besides the fact, so that it means nothing elsewhere.
const FORM: &str = "sedge-graph-entry/1";

/// A value of a key, who gave it and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// The swarm that it was said in.
    pub swarm: SwarmId,
    /// The space that it lies in.
    pub space: Space,
    /// The node of the graph.
    pub soul: String,
    /// The key of that node.
    pub key: String,
    /// The value.
    pub value: Value,
    /// When it was given.
    pub state: State,
    /// Who gave it.
    pub author: NodeId,
}

/// A fact with its author's signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What was said.
    pub fact: Fact,
    /// The author's signature over all of it.
    pub signature: Signature,
}

/// Why an entry does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// A part is out of bounds.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The author did not sign this.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A plain value in a closed space, a sealed one or a grant in the open, or a grant by another
    /// node than the founder.
    #[error("such a value does not belong there")]
    Misplaced,
}

impl EntryError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Value(it) => it.kind(),
            Self::Signature(it) => it.kind(),
            Self::Canonical(it) => it.kind(),
            Self::Misplaced => ErrorKind::Invalid,
        }
    }
}

/// A fact as it is signed.
#[derive(Serialize)]
struct Signed<'a> {
    form: &'static str,
    fact: &'a Fact,
}

/// An entry that holds, and its id.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) entry: Entry,
    /// The SHA-256 of what was signed.
    pub(crate) id: ContentId,
}

impl Fact {
    fn signed(&self) -> Result<Vec<u8>, CanonicalError> {
        jcs(&Signed { form: FORM, fact: self })
    }

    /// Signs the fact; its author must be the identity's node.
    ///
    /// # Errors
    ///
    /// [`EntryError`] when the fact is out of bounds, misplaced, or somebody else's.
    pub fn sign(self, identity: &Identity) -> Result<Entry, EntryError> {
        let signature = identity.sign(&self.signed()?);
        let entry = Entry { fact: self, signature };
        entry.clone().check()?;
        Ok(entry)
    }
}

impl Entry {
    /// Checks bounds, place and signature.
    pub(crate) fn check(self) -> Result<Checked, EntryError> {
        let fact = &self.fact;
        check_name(&fact.soul)?;
        check_name(&fact.key)?;
        fact.value.check()?;
        let fits = match (&fact.space, fact.soul == GRANTS) {
            (Space::Open, grants) => !grants && !matches!(fact.value, Value::Sealed(_)),
            (Space::Closed { founder, .. }, true) => {
                let given = granted(&fact.key).map(|it| it.1);
                let sealed = matches!(&fact.value, Value::Sealed(it) if Some(it.key) == given);
                fact.author == *founder && sealed
            }
            (Space::Closed { .. }, false) => matches!(fact.value, Value::Sealed(_) | Value::Null),
        };
        if !fits {
            return Err(EntryError::Misplaced);
        }
        let text = fact.signed()?;
        verify(&fact.author, &text, &self.signature)?;
        Ok(Checked { id: ContentId::of(&text), entry: self })
    }
}

#[cfg(test)]
mod tests {
    use sedge_base::Timestamp;

    use super::*;

    fn fact(value: Value) -> (Identity, Fact) {
        let identity = Identity::from_bytes(&[5; 64]);
        let fact = Fact {
            swarm: SwarmId::of_key(&[1; 32]),
            space: Space::Open,
            soul: "a".to_owned(),
            key: "b".to_owned(),
            value,
            state: State::at(Timestamp::from_millis(9)),
            author: identity.node_id(),
        };
        (identity, fact)
    }

    #[test]
    fn every_field_is_under_the_signature() {
        let (identity, fact) = fact(Value::Text("c".to_owned()));
        let entry = fact.sign(&identity).unwrap();
        let json = serde_json::to_string(&entry).unwrap();
        let read: Entry = serde_json::from_str(&json).unwrap();
        read.check().unwrap();
        let swarm = SwarmId::of_key(&[1; 32]).to_string();
        let other = SwarmId::of_key(&[2; 32]).to_string();
        let changes = [
            (r#""soul":"a""#.to_owned(), r#""soul":"x""#.to_owned()),
            (r#""key":"b""#.to_owned(), r#""key":"x""#.to_owned()),
            (r#""value":"c""#.to_owned(), r#""value":"x""#.to_owned()),
            (r#""state":9000"#.to_owned(), r#""state":9001"#.to_owned()),
            (swarm, other),
            (identity.node_id().to_string(), NodeId::from_bytes([5; 32]).to_string()),
        ];
        for (from, to) in changes {
            assert!(json.contains(&from), "{from}");
            let forged: Entry = serde_json::from_str(&json.replace(&from, &to)).unwrap();
            assert!(matches!(forged.check(), Err(EntryError::Signature(_))), "{from}");
        }
    }

    #[test]
    fn what_does_not_belong_there_is_refused_although_it_is_signed() {
        let (identity, plain) = fact(Value::Text("c".to_owned()));
        let closed = Space::founded("team", NodeId::from_bytes([9; 32])).unwrap();
        let in_clear = Fact { space: closed, ..plain.clone() };
        assert!(matches!(in_clear.sign(&identity), Err(EntryError::Misplaced)));
        let grant_in_the_open = Fact { soul: GRANTS.to_owned(), ..plain };
        assert!(matches!(grant_in_the_open.sign(&identity), Err(EntryError::Misplaced)));
    }
}
