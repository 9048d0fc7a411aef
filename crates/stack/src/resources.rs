//! What a stack consists of beside its instances: the layers below put together in `graph`, and
//! the resources that no layer of its own owns.

pub(crate) mod graph;
pub mod iam;
pub(crate) mod leftovers;
pub(crate) mod log_group;
pub(crate) mod parameters;
#[cfg(test)]
mod tagged;
