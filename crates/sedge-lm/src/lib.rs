//! A small language model on this machine's processor; deterministic; knows no network.
