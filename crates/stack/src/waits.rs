//! What a verb waits for: the stack's lock, and the manager's hello to GitLab.

mod diagnosis;
pub(crate) mod hello;
pub(crate) mod lock;
