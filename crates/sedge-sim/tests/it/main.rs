//! Whole meshes under many seeds.

mod seeds;
