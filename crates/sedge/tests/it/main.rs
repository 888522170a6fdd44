//! The program as people and programs use it: real processes on loopback.

mod cli;
mod crash;
mod identity;
mod machine;
mod mesh;
mod openai;
mod pairing;
