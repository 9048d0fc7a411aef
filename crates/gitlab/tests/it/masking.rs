//! Masking: the result must not depend on how the text is cut.

use onspot_gitlab::{MASK, Masker, TraceWriter};
use proptest::collection::vec;
use proptest::prelude::*;

/// Masks a text that arrives in these pieces.
fn masked(masker: &mut Masker, pieces: &[&[u8]]) -> String {
    let mut shown = Vec::new();
    for piece in pieces {
        shown.extend(masker.push(piece));
    }
    shown.extend(masker.finish());
    String::from_utf8(shown).unwrap()
}

fn mask(secrets: &[&str], text: &str) -> String {
    masked(&mut Masker::new(secrets).unwrap(), &[text.as_bytes()])
}

/// A naive implementation of masking: at each place the longest secret wins.
fn oracle(secrets: &[String], text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = secrets
            .iter()
            .filter(|secret| !secret.is_empty() && rest.starts_with(secret.as_str()))
            .map(String::len)
            .max();
        if let Some(length) = found {
            shown.push_str(MASK);
            rest = &rest[length..];
        } else {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    shown
}

#[test]
fn values_are_masked_leftmost_then_longest() {
    for (secrets, text, shown) in [
        (vec!["secret"], "a secret!", "a [MASKED]!"),
        (vec!["ab", "abcd"], "abcd abc", "[MASKED] [MASKED]c"),
        (vec!["abc", "bcde"], "abcde", "[MASKED]de"),
        (vec!["aa"], "aaaaa", "[MASKED][MASKED]a"),
        (vec![""], "nothing", "nothing"),
        (vec!["pass\nword"], "x pass\nword y", "x [MASKED] y"),
        (vec!["MASK"], "MASK", "[MASKED]"),
    ] {
        assert_eq!(mask(&secrets, text), shown);
    }
}

#[test]
fn only_what_may_become_a_secret_is_held_back() {
    let mut masker = Masker::new(["a-very-long-secret"]).unwrap();
    assert_eq!(masker.push(b"downloading..."), b"downloading...");
    assert_eq!(masker.push(b"token: a-very-"), b"token: ");
    assert_eq!(masker.push(b"wrong!"), b"a-very-wrong!");
    assert_eq!(masker.push(b" a-very-long-"), b" ");
    assert_eq!(masker.push(b"secret"), b"[MASKED]");
    assert_eq!(masker.push(b" a"), b" ");
    assert_eq!(masker.finish(), b"a");
}

#[test]
fn tokens_of_gitlab_are_masked_after_their_prefix() {
    for (text, shown) in [
        ("glpat-abc_DEF.12=-x end", "glpat-[MASKED] end"),
        (
            "PRIVATE-TOKEN: glpat-x\n",
            "PRIVATE-TOKEN: glpat-[MASKED]\n",
        ),
        ("glpat- nothing", "glpat- nothing"),
        ("glrt-t1_abc,glcbt-1", "glrt-[MASKED],glcbt-[MASKED]"),
        ("glpat", "glpat"),
    ] {
        assert_eq!(mask(&[], text), shown);
    }
    let mut masker =
        Masker::with_token_prefixes(Vec::<&str>::new(), &["acme-".to_owned()]).unwrap();
    assert_eq!(
        masked(&mut masker, &[b"ac", b"me", b"-1", b"2 x"]),
        "acme-[MASKED] x"
    );
}

#[test]
fn signatures_in_urls_are_masked() {
    assert_eq!(
        mask(
            &[],
            "GET https://b.s3/x?X-Amz-Date=1&X-Amz-Signature=abc%2F&a=b \"?private_token=x\""
        ),
        "GET https://b.s3/x?X-Amz-Date=1&X-Amz-Signature=[MASKED]&a=b \"?private_token=[MASKED]\"",
    );
}

#[test]
fn bytes_that_are_not_utf8_pass() {
    let mut masker = Masker::new(["secret"]).unwrap();
    assert_eq!(masker.push(&[0xff, 0x00, b's', b'e']), [0xff, 0x00]);
    assert_eq!(masker.finish(), b"se");
}

/// Texts and secrets of few different letters, so that they often match.
fn few_letters(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    vec(prop::sample::select(vec!['a', 'b', 'c', '\n', 'é']), length)
        .prop_map(|chars| chars.into_iter().collect())
}

/// Fragments of the other kinds of secrets.
fn tokens_and_urls() -> impl Strategy<Value = String> {
    let parts = vec![
        "gl",
        "glpat-",
        "glrt-",
        "-",
        "abc",
        " ",
        "?",
        "&",
        "rss_token=",
        "X-Amz-",
    ];
    vec(prop::sample::select(parts), 0..20).prop_map(|parts| parts.concat())
}

/// The text cut at these places.
fn cut<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn values_are_masked_like_in_the_whole_text(
        secrets in vec(few_letters(0..6), 0..5),
        text in few_letters(0..60),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut masker = Masker::new(&secrets).unwrap();
        let pieces = cut(text.as_bytes(), &cuts);
        prop_assert_eq!(masked(&mut masker, &pieces), oracle(&secrets, &text));
    }

    #[test]
    fn the_other_kinds_do_not_depend_on_the_cuts_either(
        text in tokens_and_urls(),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut masker = Masker::new(["abc-"]).unwrap();
        let pieces = cut(text.as_bytes(), &cuts);
        prop_assert_eq!(masked(&mut masker, &pieces), mask(&["abc-"], &text));
    }
}

#[test]
fn a_value_added_later_is_masked_from_then_on() {
    let trace = TraceWriter::detached(&["first".into()]).unwrap();
    trace.write(b"second fi");
    trace.add_masks(&["second".into(), String::new()]).unwrap();
    trace.line("rst second");
    let shown = String::from_utf8(trace.contents()).unwrap();
    assert_eq!(shown, "second [MASKED] [MASKED]\n");
}
