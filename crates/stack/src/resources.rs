//! The resources of a stack besides its instances: `graph` joins the layers, and the other modules
//! hold resources that have no crate of their own.

pub(crate) mod graph;
pub mod iam;
pub(crate) mod leftovers;
pub(crate) mod log_group;
pub(crate) mod parameters;
#[cfg(test)]
mod tagged;
