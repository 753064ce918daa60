//! How long a small file takes from one node's disk to another's.
fn main() {}
