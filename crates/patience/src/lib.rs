#![doc = include_str!("../README.md")]

mod backoff;
mod stall;
mod until;

pub use backoff::Backoff;
pub use stall::Stall;
pub use until::Patience;
