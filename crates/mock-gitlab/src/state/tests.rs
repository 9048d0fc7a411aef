//! Jobs and pipelines without a server.

mod lifecycle;
mod reports;
mod scene;
mod waiting;
