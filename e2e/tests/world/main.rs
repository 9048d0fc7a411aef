//! The end-to-end proofs: each starts its own world and fails if what it proves is broken.
//!
//! Only for what no smaller test can prove. Run a single one with
//! `cargo test --workspace --test world -- --nocapture proof_ghost`.

mod aws;
mod diagnosis;
mod proof_cancel;
mod proof_ghost;
mod proof_manager_killed;
mod proof_out_of_memory;
mod proof_run_without_aws;
mod proof_up_and_down;
mod proof_worker_killed;
mod scene;
