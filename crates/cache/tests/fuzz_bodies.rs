//! The bodies of the fuzz targets on their corpus: whole, cut short, and with bytes changed.

#![expect(
    clippy::duplicate_mod,
    reason = "each body is a module of its own target"
)]

#[path = "../../../fuzz/bodies/tarzst.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a module of the fuzz target, too"
)]
mod tarzst;
#[path = "../../../fuzz/bodies/vary.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is shared by the tests of all targets"
)]
mod vary;
#[path = "../../../fuzz/bodies/zip.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a module of the fuzz target, too"
)]
mod zip;

use vary::vary;

#[test]
fn zip_bodies_hold() {
    vary("zip", zip::run);
}

#[test]
fn tarzst_bodies_hold() {
    vary("tarzst", tarzst::run);
}
