//! Nodes that talk to each other, on loopback only.

mod contract;
mod death;
mod frames;
mod peers;
mod places;
mod pool;
