#![doc = include_str!("../README.md")]

mod error;
mod ids;
pub mod key;
mod leader;
mod memory;
mod object;
mod order;
mod overview;
mod payload;
mod record;
mod s3;
mod state;
mod store;
mod verdict;
mod work;

pub use error::Error;
pub use ids::{BootId, JobKey, ManagerId, RunnerName, WorkerId};
pub use key::Key;
pub use leader::{Greeting, Leader, Watched};
pub use memory::MemoryLedger;
pub use object::{Object, Stored, create, delete, establish, read, replace};
pub use order::{Ask, Order, OrderEntry};
pub use overview::{Overview, overview};
pub use payload::{JobPayload, WorkPayload};
pub use record::{Entry, Event, JobLabel, PastJob, Phase, Record, Restart, TraceMark, WrongPhase};
pub use s3::{DEFAULT_PREFIX, S3Ledger};
pub use state::{Attempt, AttemptPhase, Intake, Interruption, State, Step};
pub use store::{Answer, Condition, ETag, Ledger, Listed, Put};
pub use verdict::{Ending, Verdict};
pub use work::has_work;
