//! The doors of a real node, over real sockets.

mod access;
mod client;
mod openai;
mod rest;
