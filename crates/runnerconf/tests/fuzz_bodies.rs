//! The bodies of the fuzz targets on their corpus: whole, cut short, and with bytes changed.

#[path = "../../../fuzz/bodies/config_toml.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a module of the fuzz target, too"
)]
mod config_toml;
#[path = "../../../fuzz/bodies/vary.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is shared by the tests of all targets"
)]
mod vary;

use vary::vary;

#[test]
fn config_toml_bodies_hold() {
    vary("config_toml", config_toml::run);
}
