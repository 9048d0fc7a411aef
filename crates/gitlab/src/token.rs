//! Job ids and tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A job's number, unique within one GitLab instance.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for JobId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

/// Declares a secret string that is never shown in `Debug` output, logs or errors.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the secret's text.
            pub fn new(secret: impl Into<String>) -> Self {
                Self(secret.into())
            }

            /// The secret itself: for a request or a mask, never for a log.
            pub fn expose(&self) -> &str {
                &self.0
            }

            /// Whether the secret is empty.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[hidden]")
            }
        }
    };
}

secret! {
    /// A runner's authentication token (`glrt-…`): its owner receives the runner's jobs.
    RunnerToken
}

secret! {
    /// The token of one running job: authorises access to its trace, status, artifacts and
    /// repository.
    JobToken
}

secret! {
    /// Any other secret, such as a user's access token or a registry's password.
    Secret
}

/// How many characters of a runner's token are public: they appear in the keys of its caches.
const SHORT_TOKEN_LENGTH: usize = 9;

impl RunnerToken {
    /// The short, public part of the token, as GitLab Runner shows it in logs and uses it in the
    /// object keys of caches: at most nine characters after the known prefixes.
    ///
    /// ```
    /// # use onspot_gitlab::RunnerToken;
    /// assert_eq!(RunnerToken::new("glrt-t3_AbCdEfGhIjKlMn").short(), "AbCdEfGhI");
    /// ```
    pub fn short(&self) -> String {
        without_prefix(&self.0)
            .chars()
            .take(SHORT_TOKEN_LENGTH)
            .collect()
    }
}

/// Strips the prefixes that tell the kind of the token (and, with `t1_` to `t3_`, the database
/// partition of its runner).
fn without_prefix(token: &str) -> &str {
    let token = if let Some(rest) = token.strip_prefix("glrt-") {
        without_partition(rest)
    } else if let Some(rest) = token.strip_prefix("glrtr-") {
        rest
    } else {
        without_partition(token)
    };
    let token = token.strip_prefix("glcbt-").unwrap_or(token);
    // Old registration tokens: "GR" and seven hexadecimal digits of a rotation date.
    match token.strip_prefix("GR") {
        Some(rest) if rest.len() >= 7 && rest.bytes().take(7).all(|b| b.is_ascii_hexdigit()) => {
            &rest[7..]
        }
        _ => token,
    }
}

fn without_partition(token: &str) -> &str {
    ["t1_", "t2_", "t3_"]
        .iter()
        .find_map(|prefix| token.strip_prefix(prefix))
        .unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_token_drops_every_known_prefix() {
        for (token, short) in [
            ("glrt-abcdefghijklmnop", "abcdefghi"),
            ("glrt-t1_abcdefghijklmnop", "abcdefghi"),
            ("t2_abcdefghijklmnop", "abcdefghi"),
            ("glrtr-abcdefghijkl", "abcdefghi"),
            ("glcbt-64_abcdefghijkl", "64_abcdef"),
            ("GR1348941abcdefghijkl", "abcdefghi"),
            ("GRxyz", "GRxyz"),
            ("short", "short"),
            ("", ""),
        ] {
            assert_eq!(RunnerToken::new(token).short(), short, "{token}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let shown = format!(
            "{:?} {:?}",
            RunnerToken::new("glrt-1"),
            Secret::new("glpat-2")
        );
        assert_eq!(shown, "[hidden] [hidden]");
    }
}
