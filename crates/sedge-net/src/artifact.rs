//! Artifacts: large content by its BLAKE3 hash, asked for in ranges and verified while it streams.
//!
//! A node that has an artifact keeps two files: the bytes, and the tree of hashes above them
//! ([`ArtifactFiles`]). It sends a range as a verified stream (Bao, with groups of 16 KiB): the
//! hashes that lead from the artifact's id to the range, and the bytes. Whoever receives it checks
//! each group before it is written, so that what is on disk can be believed after any cut.
//!
//! | frame | kind | payload |
//! | --- | --: | --- |
//! | [`Ask`] | 16 | JSON: which artifact, and which bytes of it if any |
//! | told | 17 | JSON: its size, `null` when it is not here |
//! | piece | 18 | the next bytes of the verified stream |
//!
//! Invariants: nothing is written before it was checked against the id; a size is believed only
//! after the last group proved it; no byte that is on disk is asked for again.

pub(crate) mod ask;
mod fetch;
mod holder;
mod serve;
pub(crate) mod tree;

pub use ask::{ASK, Ask};
pub use fetch::{Drawn, Fetch, Probed, Progress, PullError, probe};
pub use holder::{Holder, HolderError, Remote};
pub use serve::{Server, Shelf, Shelved};
pub use tree::{ArtifactFiles, GROUP, Holds, check, plant};
