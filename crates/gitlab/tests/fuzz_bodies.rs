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
fn job_payload_bodies_hold() {
    vary("job_payload", job_payload::run);
}

#[test]
fn trace_mask_bodies_hold() {
    vary("trace_mask", trace_mask::run);
}
