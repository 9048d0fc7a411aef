//! The `onspot` binary.
fn main() {}
