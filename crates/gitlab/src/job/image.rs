//! The images of a job and its services.

use serde::{Deserialize, Deserializer, Serialize};

use crate::null::null_as_default;
use crate::variables::Variable;

/// An image and how to start it, for a job or for a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// The image's name as written by the user, before variable expansion.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The service's host names, separated by commas or spaces.
    #[serde(deserialize_with = "null_as_default")]
    pub alias: String,
    /// Replaces the image's entrypoint; empty keeps it.
    #[serde(deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    /// Replaces the service's command; empty keeps it.
    #[serde(deserialize_with = "null_as_default")]
    pub command: Vec<String>,
    /// Variables for this service only.
    #[serde(deserialize_with = "null_as_default")]
    pub variables: Vec<Variable>,
    /// Pull policies, tried in this order: `always`, `if-not-present`, `never`. Empty leaves it to
    /// the runner.
    #[serde(deserialize_with = "null_as_default")]
    pub pull_policy: Vec<String>,
    /// Options of specific executors.
    #[serde(deserialize_with = "null_as_default")]
    pub executor_opts: ExecutorOptions,
}

impl Image {
    /// The service's host names, one by one.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.alias
            .split([',', ' ', '\t', '\n'])
            .filter(|alias| !alias.is_empty())
    }
}

/// Options of specific executors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecutorOptions {
    /// Options of the docker executor.
    #[serde(deserialize_with = "null_as_default")]
    pub docker: DockerOptions,
}

/// Options of the docker executor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerOptions {
    /// The platform to pull, such as `linux/arm64`; empty means the host's.
    #[serde(deserialize_with = "null_as_default")]
    pub platform: String,
    /// The user (`name`, `uid` or `uid:gid`) to run as; empty means the image's.
    #[serde(deserialize_with = "text_or_number")]
    pub user: String,
}

/// Treats an image without a name as absent: GitLab sends `null` or an empty object for a job that
/// names no image.
pub(super) fn nameless_as_none<'de, D>(deserializer: D) -> Result<Option<Image>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<Image>::deserialize(deserializer)?.filter(|image| !image.name.is_empty()))
}

/// Reads a user, which `.gitlab-ci.yml` allows as a string and as a number.
fn text_or_number<'de, D>(deserializer: D) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => Ok(String::new()),
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!(
            "expected a user, found {other}"
        ))),
    }
}
