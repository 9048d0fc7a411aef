//! The manager's loop, the worker's loop, and the pure schedule between them.

pub mod settings;
