//! Jobs and pipelines, tested without a server.

mod lifecycle;
mod reports;
mod scene;
mod waiting;
