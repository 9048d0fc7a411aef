//! The resources, one module for each kind. From top to bottom a module holds the state, `observe`,
//! `desired`, `diff`, `leftovers` (where a smaller network may have to remove the resource),
//! `removals`, `create`, the calls that mend the resource, and `delete`.
//!
//! The order in which they are made and removed is in `diff.rs`.

pub(crate) mod endpoint;
pub(crate) mod gateway;
pub(crate) mod nat;
pub(crate) mod routes;
pub(crate) mod security_group;
pub(crate) mod subnet;
pub(crate) mod vpc;
