//! onspot-gitlab from outside: messages as data, then over the wire against a server that behaves
//! like GitLab.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod masking;
mod payload;
mod requests;
mod responses;
mod support;
mod trace;
