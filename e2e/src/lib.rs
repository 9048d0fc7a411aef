//! The local world and the end-to-end tests.
//!
//! The world is onspot's whole environment on one machine, without any account: AWS (LocalStack
//! behind a proxy that checks signatures and records every call), instances (containers with
//! systemd, their own Docker and their own metadata service), and GitLab (a mock). All of it is
//! reachable at one address, the gateway of the world's Docker network: from this host, from the
//! guests and from the jobs' containers.

#![allow(
    clippy::missing_errors_doc,
    reason = "the functions of a test world fail when the world does, and the error says how"
)]

pub mod cloud;
pub mod command;
pub mod cowsay;
pub mod duration;
pub mod engine;
mod error;
pub mod hypervisor;
pub mod images;
pub mod local_run;
pub mod poll;
pub mod push;
pub mod verbs;
pub mod world;

pub use error::{Error, Result, chain};
