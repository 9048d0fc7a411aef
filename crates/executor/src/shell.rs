//! Jobs in a shell of this host, without containers.
//!
//! Such a job has the authority of the user that onspot runs as. It is meant for hosts that are
//! trusted and for those without Docker.
