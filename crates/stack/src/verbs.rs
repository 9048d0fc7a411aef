//! What `onspot` does with a stack, one file per verb.

pub(crate) mod down;
pub(crate) mod logs;
mod outputs;
pub(crate) mod plan;
pub(crate) mod prepare;
pub(crate) mod render;
pub(crate) mod status;
pub(crate) mod up;

pub use outputs::Outputs;
