//! The older protocol's records, byte for byte (origins 4.1).
//!
//! These forms exist so that what was signed elsewhere can be read and what others expect can be
//! written. They have known weaknesses, which their items name; new records use
//! [`crate::registration`], [`crate::envelope`] and [`crate::receipt`].

mod envelope;
mod numbers;
mod registration;
mod spelling;

pub use envelope::{Envelope, Header, SealError};
pub use registration::{Registration, RegistrationError};
