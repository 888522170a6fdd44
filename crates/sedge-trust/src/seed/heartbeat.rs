//! The older protocol's sign of life (`Heartbeat`), vector 003-14.

use sedge_base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Record;
use crate::canonical;

/// A member's word that it lives, and how busy it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The member's registered id.
    pub agent_id: String,
    /// When it wrote this, in ms since 1970.
    pub timestamp: Timestamp,
    /// What it offers.
    pub capabilities: Vec<String>,
    /// How busy it is, from 0 to 1.
    pub load: f64,
}

impl Record for Heartbeat {
    fn signer(&self) -> &str {
        &self.agent_id
    }

    fn signed_text(&self) -> String {
        let Self { agent_id, timestamp, capabilities, load } = self;
        canonical::seed(&json!({
            "agent_id": agent_id,
            "capabilities": capabilities,
            "load": load,
            "timestamp": timestamp,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Signed;
    use super::*;
    use crate::registration::tests::{identity, registry};

    #[test]
    fn vector_003_14() {
        let heartbeat = Heartbeat {
            agent_id: "peer-001".to_owned(),
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            capabilities: vec!["worker".to_owned()],
            load: 0.5,
        };
        let mut signed = Signed::sign(heartbeat, &identity(1));
        assert_eq!(
            signed.signature.to_string(),
            "2150437e512e2b40ad9acba2c1b00851a3f24b082e34517ef6466892d2c1c789\
             52d4f6d3e4e46815f6913e88a58a14a611043b46da7e185456e5a8ce86290c01"
        );
        assert_eq!(signed.verify(&registry()), Ok(()));
        signed.record.load = 0.25;
        assert!(signed.verify(&registry()).is_err());
    }
}
