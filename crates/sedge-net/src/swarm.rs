//! Members of a swarm.
pub(crate) mod desk;
pub(crate) mod machine;
pub mod simulate;
pub(crate) mod wire;
