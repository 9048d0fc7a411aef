//! The server's state and its transitions.

mod assignment;
mod cancellation;
mod creation;
mod ending;
mod progress;
mod report;
mod retry;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use creation::{Content, NewPipeline};
pub(crate) use report::{Appended, Update};
pub use store::NewRunner;
pub(crate) use store::{ROOT, State, token};
