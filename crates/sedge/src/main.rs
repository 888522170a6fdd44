//! sedge turns the machines you own into one private AI.
fn main() {}
