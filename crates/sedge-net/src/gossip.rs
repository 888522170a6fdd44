//! Telling everybody: an overlay of few neighbours (after HyParView, Leitão et al. 2007), and a tree
//! on it that carries posts (after PlumTree, Leitão et al. 2007).
//!
//! Two differences from the papers. The passive view is the table of all members that the failure
//! detector keeps anyway, so there are no shuffles and no random walks. And a post is named by its
//! author and the author's number, and signed: who relays it can neither change nor forge nor repeat
//! it, and each node counts how much an author posts.

pub(crate) mod quota;
mod tree;
mod view;
mod window;

pub use self::quota::{Quota, Rate};
pub use self::tree::PostCounts;
pub(crate) use self::tree::Tree;
pub(crate) use self::view::View;
