//! The bodies of the fuzz targets on their corpus: whole, cut short, and with bytes changed.

#[path = "../../../fuzz/bodies/job_payload.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a module of the fuzz target, too"
)]
mod job_payload;
#[path = "../../../fuzz/bodies/trace_mask.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a module of the fuzz target, too"
)]
mod trace_mask;
#[path = "../../../fuzz/bodies/vary.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is shared by the tests of all targets"
)]
mod vary;

use vary::vary;

#[test]
fn job_payload_bodies_hold() {
    vary("job_payload", job_payload::run);
}

#[test]
fn trace_mask_bodies_hold() {
    vary("trace_mask", trace_mask::run);
}
