//! The crate from outside: the same bits everywhere, and the tokens that another implementation has.

mod determinism;
mod tokens;
