//! Names and secrets of the protocol: job ids and the tokens that open things.

use std::fmt;

use serde::{Deserialize, Serialize};

/// GitLab's number of a job, unique in one GitLab instance.
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

/// Declares a secret string that never shows itself in `Debug` output, logs or errors.
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

            /// Whether there is no secret at all.
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
    /// A runner's authentication token (`glrt-…`): whoever has it receives the runner's jobs.
    RunnerToken
}

secret! {
    /// The token of one running job: opens its trace, its status, its artifacts and its repository.
    JobToken
}

secret! {
    /// Any other secret, such as a user's access token or a registry's password.
    Secret
}

/// How many characters of a runner's token are public: they name its caches.
const SHORT_TOKEN_LENGTH: usize = 9;

impl RunnerToken {
    /// The short, public part of the token, as GitLab Runner shows it in logs and uses it in the
    /// object keys of caches: what follows the known prefixes, at most nine characters.
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

/// Strips the prefixes that say what kind of token this is (and, with `t1_` to `t3_`, in which
/// database partition its runner lives).
fn without_prefix(token: &str) -> &str {
    let token = if let Some(rest) = token.strip_prefix("glrt-") {
        without_partition(rest)
    } else if let Some(rest) = token.strip_prefix("glrtr-") {
        rest
    } else {
        without_partition(token)
    };
    let token = token.strip_prefix("glcbt-").unwrap_or(token);
    // Registration tokens of old: "GR" and seven hexadecimal digits of a rotation date.
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
