//! Cache keys and how caches are packed and transferred.

use onspot_cache::archive::Format;

use super::*;

fn with_key(key: &str, variables: &[(&str, &str)]) -> JobPlan {
    let mut change = with_variables(variables);
    change["cache"] = json!([{ "key": key, "paths": ["x"], "fallback_keys": ["old key "] }]);
    plan(change)
}

#[test]
fn hashed_keys_are_found_under_their_plain_name_too() {
    let hashed = with_key("main", &[("FF_HASH_CACHE_KEYS", "true")]);
    let cache = &hashed.caches[0];
    assert_eq!(cache.key.shown, "main");
    assert!(
        cache.key.name.starts_with("0d/0d6e4079"),
        "{}",
        cache.key.name
    );
    assert_eq!(cache.key.other.as_deref(), Some("main"));
    // A hashed key is not sanitised before.
    assert_eq!(cache.restore[1].shown, "old key ");
    assert!(hashed.warnings.is_empty());

    let plain = with_key("main", &[]);
    let (own, other) = (&plain.caches[0].key, &cache.key);
    assert_eq!(
        (&own.name, &own.other),
        (&"main".to_owned(), &Some(other.name.clone()))
    );
}

#[test]
fn a_key_that_is_changed_or_left_out_is_said() {
    let changed = with_key("a/../b", &[("CACHE_FALLBACK_KEY", "main-protected")]);
    assert_eq!(changed.caches[0].key.name, "b");
    assert_eq!(
        changed.warnings,
        [
            r#"cache key "a/../b" sanitized to "b""#,
            r#"CACHE_FALLBACK_KEY "main-protected" not allowed to end in "-protected""#,
            r#"cache key "old key " sanitized to "old key""#,
        ]
    );
    let left_out = with_key("..", &[]);
    assert!(left_out.caches.is_empty());
    assert_eq!(
        left_out.warnings,
        [r#"a cache is left out: the cache key ".." names nothing"#]
    );
}

#[test]
fn variables_set_the_format_and_the_time_of_a_transfer() {
    for (text, format) in [
        ("zipzstd", Format::ZipZstd),
        ("TarZstd", Format::TarZstd),
        ("zip", Format::Zip),
        ("rar", Format::Zip),
    ] {
        let plan = with_key("k", &[("CACHE_COMPRESSION_FORMAT", text)]);
        assert_eq!(plan.caches[0].format, format);
        assert_eq!(plan.transfer_seconds, None);
    }
    for (text, seconds) in [("2", Some(120)), ("0", None), ("soon", None)] {
        let plan = with_key("k", &[("CACHE_REQUEST_TIMEOUT", text)]);
        assert_eq!(plan.transfer_seconds, seconds, "{text}");
    }
}
