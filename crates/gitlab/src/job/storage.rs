//! A job's artifacts, caches and logins.

use serde::{Deserialize, Serialize};

use super::When;
use crate::null::null_as_default;
use crate::token::{JobId, JobToken, Secret};

/// One archive of files to upload after the script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactSpec {
    /// The archive's name, before variable expansion; empty means the default (`artifacts` for an
    /// archive, `artifacts.<type>` for a report).
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Whether all files that git does not track are included.
    #[serde(deserialize_with = "null_as_default")]
    pub untracked: bool,
    /// Globs relative to the project's folder.
    #[serde(deserialize_with = "null_as_default")]
    pub paths: Vec<String>,
    /// Globs of files to leave out.
    #[serde(deserialize_with = "null_as_default")]
    pub exclude: Vec<String>,
    /// After which outcome to upload.
    #[serde(deserialize_with = "null_as_default")]
    pub when: When,
    /// `archive`, or a kind of report such as `junit`.
    #[serde(deserialize_with = "null_as_default")]
    pub artifact_type: String,
    /// How the files are packed.
    #[serde(deserialize_with = "null_as_default")]
    pub artifact_format: ArtifactFormat,
    /// How long GitLab keeps it, in GitLab's syntax (`1 week`); empty means its default.
    #[serde(deserialize_with = "null_as_default")]
    pub expire_in: String,
}

/// How artifacts are packed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ArtifactFormat {
    /// A zip archive: the default.
    #[default]
    Zip,
    /// One gzip member per file, concatenated: for reports.
    Gzip,
    /// The single file unchanged.
    Raw,
    /// A zip archive with entries compressed by zstd.
    ZipZstd,
    /// A tar archive compressed by zstd.
    TarZstd,
    /// A format that this version does not know.
    Other(String),
}

impl ArtifactFormat {
    /// The format's name in the protocol.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Zip => "zip",
            Self::Gzip => "gzip",
            Self::Raw => "raw",
            Self::ZipZstd => "zipzstd",
            Self::TarZstd => "tarzstd",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for ArtifactFormat {
    fn from(name: String) -> Self {
        match name.as_str() {
            "" | "zip" => Self::Zip,
            "gzip" => Self::Gzip,
            "raw" => Self::Raw,
            "zipzstd" => Self::ZipZstd,
            "tarzstd" => Self::TarZstd,
            _ => Self::Other(name),
        }
    }
}

impl From<ArtifactFormat> for String {
    fn from(format: ArtifactFormat) -> Self {
        format.as_str().to_owned()
    }
}

/// A cache: files that a later job may find again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheSpec {
    /// The cache's key, before variable expansion.
    #[serde(deserialize_with = "null_as_default")]
    pub key: String,
    /// Whether all files that git does not track are included.
    #[serde(deserialize_with = "null_as_default")]
    pub untracked: bool,
    /// `pull-push`, `pull` or `push`; may contain a variable: expand it, then read it with
    /// [`CachePolicy::parse`].
    #[serde(deserialize_with = "null_as_default")]
    pub policy: String,
    /// Globs relative to the project's folder.
    #[serde(deserialize_with = "null_as_default")]
    pub paths: Vec<String>,
    /// After which outcome to save it.
    #[serde(deserialize_with = "null_as_default")]
    pub when: When,
    /// Keys to try in this order if nothing is found under `key`.
    #[serde(deserialize_with = "null_as_default")]
    pub fallback_keys: Vec<String>,
}

/// Whether a job reads a cache, writes it, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CachePolicy {
    /// Fetch before the script, save after it.
    #[default]
    PullPush,
    /// Only fetch.
    Pull,
    /// Only save.
    Push,
}

impl CachePolicy {
    /// Parses a policy; an empty one is the default, an unknown one gives `None`.
    pub fn parse(policy: &str) -> Option<Self> {
        match policy {
            "" | "pull-push" => Some(Self::PullPush),
            "pull" => Some(Self::Pull),
            "push" => Some(Self::Push),
            _ => None,
        }
    }

    /// Whether the cache is fetched before the script.
    pub fn pulls(self) -> bool {
        self != Self::Push
    }

    /// Whether the cache is saved after the script.
    pub fn pushes(self) -> bool {
        self != Self::Pull
    }
}

/// A login, most often for a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// The kind of login: `registry` is the only one in use.
    #[serde(deserialize_with = "null_as_default")]
    pub r#type: String,
    /// The host, without a scheme.
    #[serde(deserialize_with = "null_as_default")]
    pub url: String,
    /// The user's name.
    #[serde(deserialize_with = "null_as_default")]
    pub username: String,
    /// The password, often the job's token.
    #[serde(deserialize_with = "null_as_default")]
    pub password: Secret,
}

/// A job whose artifacts this one needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// That job's number.
    #[serde(deserialize_with = "null_as_default")]
    pub id: JobId,
    /// Authorises access to that job's artifacts.
    #[serde(deserialize_with = "null_as_default")]
    pub token: JobToken,
    /// That job's name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Its archive; absent if it has none.
    pub artifacts_file: Option<ArtifactsFile>,
}

/// An archive stored by GitLab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactsFile {
    /// The file's name.
    #[serde(deserialize_with = "null_as_default")]
    pub filename: String,
    /// Its size in bytes.
    #[serde(deserialize_with = "null_as_default")]
    pub size: u64,
}
