//! Models on other people's machines, asked through their APIs.
//!
//! The only place of this crate that holds a provider's key and opens a connection to it. What a
//! vendor's API says stands in [`providers`](crate::providers).

mod answer;
mod decoder;
mod file;
mod frames;
mod link;
mod model;
mod refusal;

pub(crate) use answer::{Answer, Finish};
#[cfg(any(test, fuzzing))]
pub(crate) use decoder::Decoder;
pub(crate) use file::Provider;
#[cfg(any(test, fuzzing))]
pub(crate) use file::feed;
pub use file::{Environment, Providers, ProvidersError};
pub(crate) use frames::Framing;
pub(crate) use link::{Link, client};
pub(crate) use model::open;
