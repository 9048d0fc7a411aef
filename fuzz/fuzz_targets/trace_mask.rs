#![no_main]

#[path = "../bodies/trace_mask.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
