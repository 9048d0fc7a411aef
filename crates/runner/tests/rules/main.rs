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
mod rule_01_record;
mod rule_02_assignment;
mod rule_03_order;
mod rule_04_round;
mod rule_05_missing_order;
mod rule_06_start;
mod rule_07_result;
mod rule_08_lease;
mod rule_09_restart;
mod rule_10_silence;
mod rule_11_takeover;
mod rule_12_terminated;
mod rule_13_verdict;
mod rule_14_cancel;
mod rule_15_release;
mod rule_16_cleanup;
mod simulation;
mod taken_down;
mod token;
mod watched;
mod world;
