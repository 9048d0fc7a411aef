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
#[path = "../../../fuzz/bodies/zip.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a module of the fuzz target, too"
)]
mod zip;

/// Runs a body on all that comes of a corpus's files.
fn vary(name: &str, run: fn(&[u8])) {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    let files = std::fs::read_dir(format!("{corpus}/{name}")).expect("a corpus");
    let mut count = 0;
    for file in files {
        let data = std::fs::read(file.expect("a file").path()).expect("a file");
        let step = data.len() / 40 + 1;
        run(&data);
        for at in (0..data.len()).step_by(step) {
            run(&data[..at]);
            let mut changed = data.clone();
            changed[at] ^= 0xff;
            run(&changed);
        }
        count += 1;
    }
    assert!(count > 1, "{name} has a corpus");
}

#[test]
fn zip_bodies_hold() {
    vary("zip", zip::run);
}

#[test]
fn tarzst_bodies_hold() {
    vary("tarzst", tarzst::run);
}
