//! The world: onspot's whole environment on this machine.

mod cleanup;
mod client;
mod localstack;
mod network;
pub mod program;
mod registry;
mod running;
pub mod stack;
pub mod state;
pub mod sweep;

pub use cleanup::Signals;
pub use localstack::LocalStack;
pub use running::{JOB_IMAGE, RUNNER, World, WorldOptions};
pub use stack::StackOptions;
pub use sweep::Which;
