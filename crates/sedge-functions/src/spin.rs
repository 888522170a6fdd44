//! Applications as Spin knows them: what a manifest says, and which component a path belongs to.
//!
//! Invariant: what a manifest or a component asks for and cannot be had here is named before anything is deployed.

mod app;
mod imports;
mod manifest;
mod route;
mod share;
mod template;

pub use app::{App, AppError, Given, Part};
pub use route::{Match, Route, RouteError, pick};
pub use share::{Share, share_of};

#[cfg(any(test, fuzzing))]
pub(crate) use app::feed;
