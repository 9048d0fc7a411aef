//! The manager's loop, the worker's loop, and the pure schedule between them.

pub mod capacity;
pub mod clock;
pub mod coordinator;
pub mod imds;
pub mod leader;
pub mod schedule;
pub mod settings;
pub mod worker;
