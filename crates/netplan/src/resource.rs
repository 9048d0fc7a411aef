//! The resources, a module for each kind, from top to bottom: its state, `observe`, what is
//! desired, `diff`, `leftovers` where it can be in the way of a smaller network, `removals`,
//! `create`, the calls that mend it, `delete`.
//!
//! The order in which they are made and removed is in `diff.rs`.

pub(crate) mod endpoint;
pub(crate) mod gateway;
pub(crate) mod nat;
pub(crate) mod routes;
pub(crate) mod security_group;
pub(crate) mod subnet;
pub(crate) mod vpc;
