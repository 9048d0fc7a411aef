//! Mounts of containers in Docker's notation.

use crate::Malformed;

const HINT: &str = "write an absolute path, or two: \"/on/the/host:/in/the/container:ro\"";
const OPTIONS: [&str; 14] = [
    "ro",
    "rw",
    "z",
    "Z",
    "O",
    "shared",
    "slave",
    "private",
    "rshared",
    "rslave",
    "rprivate",
    "nocopy",
    "cached",
    "delegated",
];

/// Checks a mount: `/path`, or `/source:/target`, with options after another colon. The source must
/// be an absolute path on the host.
///
/// # Errors
/// If the text is not a valid mount.
pub fn check(text: &str) -> Result<(), Malformed> {
    let wrong = |flaw: String| Malformed::new(text, format!("is no volume: {flaw}"), HINT);
    let parts: Vec<&str> = text.split(':').collect();
    let (paths, options) = match parts[..] {
        [_] | [_, _] => (&parts[..], ""),
        [_, _, options] => (&parts[..2], options),
        _ => return Err(wrong("it has too many parts".to_owned())),
    };
    if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
        return Err(wrong(format!("`{path}` is no absolute path")));
    }
    let target = paths.last().copied().unwrap_or_default();
    if target.trim_matches('/').is_empty() {
        return Err(wrong("it would hide the whole container".to_owned()));
    }
    let unknown = |option: &&str| !option.is_empty() && !OPTIONS.contains(option);
    match options.split(',').find(unknown) {
        Some(option) => Err(wrong(format!("`{option}` is none of its options"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_mounts_pass_and_mistakes_do_not() {
        for text in [
            "/cache",
            "/a:/b",
            "/a:/b:ro",
            "/a:/b:ro,z",
            "/a b:/c",
            "/:/host:ro",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for (text, flaw) in [
            ("relative:/x", "`relative` is no absolute path"),
            ("cache", "`cache` is no absolute path"),
            ("/a:b", "`b` is no absolute path"),
            ("", "`` is no absolute path"),
            ("/a:/", "it would hide the whole container"),
            ("/a:/b:rx", "`rx` is none of its options"),
            ("/a:/b:ro:z", "it has too many parts"),
        ] {
            let error = check(text).unwrap_err();
            assert_eq!(error.flaw(), format!("is no volume: {flaw}"), "{text}");
        }
    }
}
