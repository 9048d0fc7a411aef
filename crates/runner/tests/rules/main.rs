//! The sixteen rules of the ledger, one file each: the accident without the rule, reproduced by raw
//! operations, and the same sequence under the real loops; then random faults over everything. See
//! `docs/ledger.md` for the rules themselves.
//!
//! Time is tokio's, paused: an hour in a test takes milliseconds.

#![expect(
    clippy::unwrap_used,
    reason = "a world that can't be set up is a failed test, in helpers as well"
)]

mod alone;
mod capacity;
mod freeze;
mod leader;
mod left_alone;
mod leftovers;
mod outage;
mod refusals;
mod rule_01;
mod rule_02;
mod rule_03;
mod rule_04;
mod rule_05;
mod rule_06;
mod rule_07;
mod rule_08;
mod rule_09;
mod rule_10;
mod rule_11;
mod rule_12;
mod rule_13;
mod rule_14;
mod rule_15;
mod rule_16;
mod simulation;
mod taken_down;
mod token;
mod watched;
mod world;
