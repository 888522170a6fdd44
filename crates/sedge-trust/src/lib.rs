//! Who is this, what may they do, who signed that: keys, registrations, envelopes, tokens, receipts.
//!
//! Invariants: a key is never taken from the message that it is to verify; whatever is not
//! authenticated changes no state; every signature covers every field; secret keys are wiped on
//! drop, never printed, and their files are never replaced. Nothing here talks to a network.
//!
//! ```
//! use sedge_trust::{Identity, verify};
//!
//! let node = Identity::generate()?;
//! let signature = node.sign(b"a text");
//! assert!(verify(&node.node_id(), b"a text", &signature).is_ok());
//! assert!(verify(&node.node_id(), b"another", &signature).is_err());
//! # Ok::<(), sedge_trust::RandomError>(())
//! ```

pub mod admission;
pub mod approval;
pub mod bench;
pub mod canonical;
mod cipher;
pub mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod hybrid;
mod identity;
mod keyfile;
pub mod merkle;
pub mod pairing;
mod random;
pub mod receipt;
pub mod registration;
pub mod revocation;
pub mod seed;
pub mod session;
mod signature;
pub mod swarm;
pub mod token;

pub use approval::Approval;
pub use cipher::{OpenFailed, SealError, Sealed};
pub use envelope::Envelope;
pub use identity::{IDENTITY_FILE, Identity};
pub use keyfile::KeyFileError;
pub use random::{RandomError, random_bytes};
pub use receipt::{Export, Receipt, Rung, Status};
pub use registration::{Registration, Registry};
pub use revocation::{Revocation, Revoked, verify_revocation};
pub use signature::{
    BadSignature, HexError, Mac, Nonce, SessionPublicKey, Signature, TreeHash, verify,
};
pub use swarm::{Membership, Owner, verify_membership};
pub use token::{Token, TokenId, VerifiedToken};
