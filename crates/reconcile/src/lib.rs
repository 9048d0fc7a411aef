#![doc = include_str!("../README.md")]

mod call;
mod change;
mod plan;
mod progress;
mod tags;

pub use call::{CallError, CallFailure, ServiceResultExt};
pub use change::{Change, ChangeKind, Detail};
pub use onspot_patience::Patience;
pub use plan::{Plan, Summary};
pub use progress::{EventSender, Progress, Step, event_channel};
pub use tags::{NAME, NOTES, ROLE, RUNNER, STACK, TagDrift, TagError, Tags};
