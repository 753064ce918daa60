//! What a node costs that has nothing to do.
fn main() {}
