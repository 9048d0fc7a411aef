//! Object keys of caches: the same as GitLab Runner's, so that both can share one bucket.

use serde::{Deserialize, Serialize};

use sha2::{Digest, Sha256};

use crate::Error;

/// A job's cache key, and what becomes of it in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey {
    /// For people.
    pub shown: String,
    /// Its place below the project.
    pub name: String,
    /// Where the same cache is if it was stored with `FF_HASH_CACHE_KEYS` the other way round.
    pub other: Option<String>,
}

impl CacheKey {
    /// A key as in the job, after expansion. With `FF_HASH_CACHE_KEYS` it is hashed, without
    /// being sanitised before, and lies in a folder of the hash's first two digits.
    ///
    /// # Errors
    /// If nothing is left of the key once it is sanitised.
    pub fn new(key: &str, hashed: bool) -> Result<Self, Error> {
        let plain = sanitize(key);
        if hashed {
            if key.is_empty() {
                return Err(Error::EmptyKey { key: String::new() });
            }
            return Ok(Self {
                shown: key.to_owned(),
                name: hashed_name(key),
                other: plain.ok(),
            });
        }
        let plain = plain?;
        Ok(Self {
            other: Some(hashed_name(&plain)),
            name: plain.clone(),
            shown: plain,
        })
    }
}

fn hashed_name(key: &str) -> String {
    let hash = hex::encode(Sha256::digest(key.as_bytes()));
    format!("{}/{hash}", &hash[..2])
}

/// Whose cache it is: the part of an object key before the job's cache key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheScope {
    /// A prefix for everything (`[runners.cache] Path`), without slashes around it.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Whether runners share caches (`[runners.cache] Shared`). Otherwise each runner token has
    /// its own.
    #[serde(default)]
    pub shared: bool,
    /// The public beginning of the runner token, shortened as in GitLab Runner.
    pub short_token: String,
    /// The GitLab project's id.
    pub project_id: u64,
}

/// The object key of a cache: `[prefix/][runner/<short token>/]project/<id>/<key>`.
///
/// # Errors
/// If nothing is left of the key once it is sanitised.
pub fn object_key(scope: &CacheScope, key: &str) -> Result<String, Error> {
    let key = sanitize(key)?;
    let mut parts: Vec<String> = Vec::new();
    if let Some(prefix) = &scope.prefix {
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            parts.push(prefix.to_owned());
        }
    }
    if !scope.shared {
        parts.push(format!("runner/{}", scope.short_token));
    }
    parts.push(format!("project/{}", scope.project_id));
    parts.push(key);
    Ok(parts.join("/"))
}

/// A cache key as it appears in an object key: `%2f` and `%2e` decoded, backslashes turned into
/// slashes, `.` and `..` resolved without ever leaving the root, trailing blanks removed.
///
/// # Errors
/// If nothing is left.
pub fn sanitize(key: &str) -> Result<String, Error> {
    let decoded = decode(key);
    let mut parts: Vec<&str> = Vec::new();
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    while let Some(last) = parts.pop() {
        let trimmed = last.trim_end();
        if !trimmed.is_empty() {
            parts.push(trimmed);
            break;
        }
    }
    if parts.is_empty() {
        return Err(Error::EmptyKey {
            key: key.to_owned(),
        });
    }
    Ok(parts.join("/"))
}

/// Decodes encoded slashes and dots in one pass: the result is not decoded again.
fn decode(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut rest = key;
    while let Some(c) = rest.chars().next() {
        let escape = rest.get(..3).unwrap_or_default().to_ascii_lowercase();
        let (decoded, length) = match escape.as_str() {
            "%2f" => ('/', 3),
            "%2e" => ('.', 3),
            _ if c == '\\' => ('/', 1),
            _ => (c, c.len_utf8()),
        };
        out.push(decoded);
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope(shared: bool, prefix: Option<&str>) -> CacheScope {
        CacheScope {
            prefix: prefix.map(str::to_owned),
            shared,
            short_token: "longtoken".into(),
            project_id: 10,
        }
    }

    #[test]
    fn object_keys_are_those_of_gitlab_runner() {
        // The cases of cache_test.go in GitLab Runner.
        for (shared, prefix, key, expected) in [
            (false, None, "key", "runner/longtoken/project/10/key"),
            (true, None, "key", "project/10/key"),
            (
                false,
                Some("cache"),
                "key",
                "cache/runner/longtoken/project/10/key",
            ),
            (true, Some("/cache/"), "a/b", "cache/project/10/a/b"),
        ] {
            assert_eq!(object_key(&scope(shared, prefix), key).unwrap(), expected);
        }
    }

    #[test]
    fn keys_stay_beneath_their_project() {
        for (key, expected) in [
            ("../../etc", "etc"),
            ("..%2F..%2fetc", "etc"),
            (r"..\..\etc", "etc"),
            ("a/../b/./c/", "b/c"),
            ("main  ", "main"),
            ("main/  /", "main"),
            ("%252e%252e/x", "%252e%252e/x"),
            ("größe", "größe"),
        ] {
            assert_eq!(sanitize(key).unwrap(), expected, "{key:?}");
        }
        for key in ["", ".", "..", "/", " ", "%2e%2e", "a/.."] {
            assert!(sanitize(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn hashed_keys_are_those_of_gitlab_runner() {
        let hash = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
        let hashed = CacheKey::new("key", true).unwrap();
        assert_eq!(hashed.name, format!("2c/{hash}"));
        assert_eq!(
            (hashed.shown.as_str(), hashed.other.as_deref()),
            ("key", Some("key"))
        );
        let plain = CacheKey::new("key ", false).unwrap();
        assert_eq!(plain.name, "key");
        assert_eq!(plain.other, Some(format!("2c/{hash}")));
        // Only a hash makes a key of dots.
        assert!(CacheKey::new("..", false).is_err());
        assert_eq!(CacheKey::new("..", true).unwrap().other, None);
        assert!(CacheKey::new("", true).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_key_escapes(key in ".{0,40}") {
            if let Ok(object) = object_key(&scope(false, None), &key) {
                prop_assert!(object.starts_with("runner/longtoken/project/10/"));
                prop_assert!(object.split('/').all(|part| !part.is_empty() && part != ".."));
            }
        }
    }
}
