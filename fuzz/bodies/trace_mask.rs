//! Masks any text in any pieces: the result does not depend on the pieces, and has no secret.
//! The first line is the secret, the second byte of the rest says where to cut.

use onspot_gitlab::Masker;

/// One input.
pub fn run(data: &[u8]) {
    let split = data.iter().position(|byte| *byte == b'\n');
    let Some((secret, text)) = split.map(|at| (&data[..at], &data[at + 1..])) else {
        return;
    };
    let size = text.get(1).map_or(1, |byte| usize::from(*byte % 16) + 1);
    let masker = || Masker::new([secret]).ok();
    let (Some(mut whole), Some(mut cut)) = (masker(), masker()) else {
        return;
    };
    let mut at_once = whole.push(text);
    at_once.extend(whole.finish());
    let mut in_pieces = Vec::new();
    for piece in text.chunks(size) {
        in_pieces.extend(cut.push(piece));
    }
    in_pieces.extend(cut.finish());
    assert_eq!(at_once, in_pieces);
    // Parts of the mask itself may be a secret.
    let is_own = |secret: &[u8]| b"[MASKED]".windows(secret.len()).any(|part| part == secret);
    let is_found = |text: &[u8]| text.windows(secret.len()).any(|part| part == secret);
    if secret.len() > 8 && !is_own(secret) && !secret.contains(&b'[') && !secret.contains(&b']') {
        assert!(!is_found(&at_once), "{}", String::from_utf8_lossy(&at_once));
    }
}
