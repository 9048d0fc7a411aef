//! Mounts of containers in Docker's notation.

use crate::Malformed;

const HINT: &str = "write \"/in/the/container\", \"/on/the/host:/in/the/container:ro\" or \"name:/in/the/container\"";
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

/// Checks a mount: `/path`, or `source:/target`, with options after another colon. The source is an
/// absolute path on the host, or the name of a volume of Docker. A relative path is neither: what
/// it would be relative to, nobody could say.
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
    if let [source, _] = paths
        && !source.starts_with('/')
        && !is_name(source)
    {
        let flaw = format!("`{source}` is neither an absolute path nor the name of a volume");
        return Err(wrong(flaw));
    }
    if let Some(target) = paths.last().filter(|path| !path.starts_with('/')) {
        return Err(wrong(format!("`{target}` is no absolute path")));
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

/// Whether Docker takes a source for a volume of this name.
fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    let starts = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric());
    let follows = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    starts && text.len() > 1 && characters.all(follows)
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
            "tools:/opt/tools",
            "team_cache-1.0:/cache:ro",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for (text, flaw) in [
            (
                "./relative:/x",
                "`./relative` is neither an absolute path nor the name of a volume",
            ),
            (
                "some/folder:/x",
                "`some/folder` is neither an absolute path nor the name of a volume",
            ),
            (
                "..:/x",
                "`..` is neither an absolute path nor the name of a volume",
            ),
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
