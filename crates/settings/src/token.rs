//! Secrets, and references to where one is kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is never shown in `Debug`, logs or errors.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Where a runner's token is.
///
/// In a file it is one string: `env:NAME`, `file:PATH`, `ssm:NAME`, or the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenRef {
    /// In the file itself.
    Plain(Secret),
    /// In an environment variable of this name.
    Env(String),
    /// In a file; surrounding white space is ignored.
    File(PathBuf),
    /// In an SSM parameter of this name.
    Ssm(String),
}

/// Why a token can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The reference is empty or names nothing.
    #[error("the token reference `{0}` names nothing")]
    Empty(String),
    /// The scheme is unknown, and no token begins like this.
    #[error("`{scheme}:` is no place where a token can be")]
    UnknownScheme {
        /// What stands before the colon.
        scheme: String,
    },
    /// The environment variable is not set, or is empty.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// The file could not be read.
    #[error("cannot read the token from {}", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file holds nothing.
    #[error("{} holds no token", .0.display())]
    EmptyFile(PathBuf),
    /// The token is in SSM, where only the caller can read it.
    #[error("the token is in the SSM parameter {0}, which can't be read here")]
    InSsm(String),
}

impl TokenError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Empty(_) | Self::UnknownScheme { .. } => {
                "write token = \"env:NAME\", \"file:PATH\" or \"ssm:PARAMETER\"".to_owned()
            }
            Self::NoVariable(name) => {
                format!("export {name}=glrt-… (GitLab: Settings → CI/CD → Runners → New runner)")
            }
            Self::NoFile { .. } | Self::EmptyFile(_) => {
                "put the runner's token (glrt-…) there, readable only for you".to_owned()
            }
            Self::InSsm(_) => {
                "here the token must come from env:, file:, or stand in the file".to_owned()
            }
        })
    }
}

impl TokenRef {
    /// Reads the token from the file itself, the environment or a file. The caller has to resolve
    /// [`TokenRef::Ssm`].
    ///
    /// # Errors
    ///
    /// [`TokenError`] if the variable is not set, if the file can't be read or is empty, or if the
    /// token is in SSM.
    pub fn read(&self) -> Result<Secret, TokenError> {
        match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Env(name) => match std::env::var(name) {
                Ok(value) if !value.trim().is_empty() => Ok(Secret::new(value.trim())),
                _ => Err(TokenError::NoVariable(name.clone())),
            },
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| TokenError::NoFile {
                    path: path.clone(),
                    source,
                })?;
                match text.trim() {
                    "" => Err(TokenError::EmptyFile(path.clone())),
                    token => Ok(Secret::new(token)),
                }
            }
            Self::Ssm(name) => Err(TokenError::InSsm(name.clone())),
        }
    }

    /// The reference as it is written in a file. This shows a plain token, so use it only to write
    /// a file.
    pub fn to_config(&self) -> String {
        match self {
            Self::Plain(secret) => secret.expose().to_owned(),
            other => other.to_string(),
        }
    }

    /// Whether the file holds the token itself.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

/// For people: a plain token is hidden.
impl fmt::Display for TokenRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("[hidden]"),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Ssm(name) => write!(f, "ssm:{name}"),
        }
    }
}

impl FromStr for TokenRef {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once(':') else {
            return match text {
                "" => Err(TokenError::Empty(String::new())),
                token => Ok(Self::Plain(Secret::new(token))),
            };
        };
        // GitLab's tokens hold no colon, so a colon means a reference.
        let known = matches!(scheme, "env" | "file" | "ssm");
        match scheme {
            _ if known && rest.is_empty() => Err(TokenError::Empty(text.to_owned())),
            "env" => Ok(Self::Env(rest.to_owned())),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            "ssm" => Ok(Self::Ssm(rest.to_owned())),
            _ => Err(TokenError::UnknownScheme {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

/// As in a file. A plain token is an error, because others may read the files that are written.
impl Serialize for TokenRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(_) => Err(serde::ser::Error::custom("a plain token is not written")),
            reference => serializer.collect_str(reference),
        }
    }
}

impl<'de> Deserialize<'de> for TokenRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_apart() {
        for (text, expected) in [
            ("env:RUNNER_TOKEN", TokenRef::Env("RUNNER_TOKEN".into())),
            ("file:/etc/token", TokenRef::File("/etc/token".into())),
            (
                "ssm:/onspot/ci/m3/token",
                TokenRef::Ssm("/onspot/ci/m3/token".into()),
            ),
            ("glrt-abc_def", TokenRef::Plain(Secret::new("glrt-abc_def"))),
        ] {
            let token: TokenRef = text.parse().unwrap();
            assert_eq!(token, expected);
            assert_eq!(token.to_config(), text);
        }
    }

    #[test]
    fn a_bad_reference_is_refused_without_showing_what_follows() {
        let error = "vault:glrt-secret".parse::<TokenRef>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`vault:` is no place where a token can be"
        );
        assert!("env:".parse::<TokenRef>().is_err());
        assert!("".parse::<TokenRef>().is_err());
    }

    #[test]
    fn a_plain_token_never_shows() {
        let token: TokenRef = "glrt-secret".parse().unwrap();
        assert!(!format!("{token} {token:?}").contains("secret"));
        assert!(toml::Value::try_from(token).is_err());
    }

    #[test]
    fn a_file_is_read_and_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "glrt-x\n").unwrap();
        assert_eq!(
            TokenRef::File(path.clone()).read().unwrap().expose(),
            "glrt-x"
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(
            TokenRef::File(path).read(),
            Err(TokenError::EmptyFile(_))
        ));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = TokenRef::Env("ONSPOT_NOT_SET_ANYWHERE".into())
            .read()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment variable ONSPOT_NOT_SET_ANYWHERE is not set"
        );
    }
}
