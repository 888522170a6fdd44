//! State that converges: a graph that every member writes and that is the same on all of them.
//!
//! A node of the graph has a *soul*, keys and values; each key is resolved alone by GUN's HAM. Each
//! value is an entry that its author signed, and stands on disk before it is acknowledged.
//!
//! Invariants: an entry changes nothing before its signature, its author's membership and, in a
//! closed space, its author's grant are checked; what stands follows from the set of entries alone,
//! not from their order; a state may lie five minutes ahead at most, and waits until then in bounded
//! memory; what lies in a closed space is ciphertext for everybody without its key, on disk and on
//! the wire; text is never quantised, and a tensor that is says so. It opens no connections, resolves
//! no membership, and merges no texts that two people edit.
//!
//! ```
//! use sedge_sync::{State, Value, Verdict, judge};
//!
//! let state = |it| State::from_thousandths(it).unwrap();
//! let (old, new) = (Value::Text("old".to_owned()), Value::Text("new".to_owned()));
//! let known = Some((&old, state(1000)));
//! assert_eq!(judge((&new, state(1001)), known, state(5000)), Verdict::Take);
//! assert_eq!(judge((&new, state(999)), known, state(5000)), Verdict::Historical);
//! assert_eq!(judge((&new, state(6000)), known, state(5000)), Verdict::Defer);
//! ```

mod entry;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod graph;
mod ham;
mod link;
mod pack;
mod replica;
mod sealed;
mod space;
mod state;
mod sync;
mod tensor;
mod value;
mod wire;

pub use entry::{Entry, EntryError, Fact};
pub use graph::MAX_ENTRIES;
pub use ham::{MAX_AHEAD_MS, Verdict, judge};
pub use link::{Condition, Level, LinkMeter, LinkView};
pub use pack::{UnpackError, pack, unpack};
pub use replica::{Change, Put, Replica, Roll, Seen, SpaceView, Taken, TensorView, WriteError};
pub use sealed::{GRANTS, SealedValue, UnsealError};
pub use space::{Space, SpaceError};
pub use state::State;
pub use sync::{MOST_ENTRIES, Pulled};
pub use tensor::{Form, MAX_NUMBERS, Tensor, TensorRef};
pub use value::{Link, MAX_NAME, MAX_TEXT, Value, ValueError, check_name};
pub use wire::{ASK, Ask, Head, Reader, SyncError, Writer};
