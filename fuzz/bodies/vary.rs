//! Runs a body on its corpus: each file whole, cut short, and with bytes changed. For plain tests.

/// Runs a body on everything derived from its corpus.
pub fn vary(name: &str, run: fn(&[u8])) {
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
