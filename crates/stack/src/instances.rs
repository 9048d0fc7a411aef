//! What managers and workers are made of: their image, their settings, their first boot.

mod boot;
pub(crate) mod config;
pub(crate) mod images;
pub(crate) mod launch;
pub(crate) mod settings;
