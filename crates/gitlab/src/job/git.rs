//! What a job checks out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::null::null_as_default;

/// What a job checks out, and from where.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitInfo {
    /// The repository's URL. Contains the job's token as a password: never log it.
    #[serde(deserialize_with = "null_as_default")]
    pub repo_url: String,
    /// The repository's hash function: `sha1` or `sha256`; empty means `sha1`.
    #[serde(deserialize_with = "null_as_default")]
    pub repo_object_format: String,
    /// The branch's or the tag's name.
    #[serde(deserialize_with = "null_as_default")]
    pub r#ref: String,
    /// The commit to build.
    #[serde(deserialize_with = "null_as_default")]
    pub sha: String,
    /// The commit that `ref` was at before the push; all zeros if there is none.
    #[serde(deserialize_with = "null_as_default")]
    pub before_sha: String,
    /// Whether `ref` is a branch or a tag.
    #[serde(deserialize_with = "null_as_default")]
    pub ref_type: RefType,
    /// The refspecs to fetch (`+refs/heads/main:refs/remotes/origin/main`).
    #[serde(deserialize_with = "null_as_default")]
    pub refspecs: Vec<String>,
    /// How many commits to fetch; 0 means all.
    #[serde(deserialize_with = "null_as_default")]
    pub depth: u32,
    /// Whether `ref` is protected; absent before GitLab 18.3.
    pub protected: Option<bool>,
}

impl fmt::Debug for GitInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitInfo")
            .field("repo_url", &without_password(&self.repo_url))
            .field("ref", &self.r#ref)
            .field("sha", &self.sha)
            .field("ref_type", &self.ref_type)
            .field("refspecs", &self.refspecs)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

/// The URL without user and password.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// Whether a job builds a branch or a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", from = "String")]
pub enum RefType {
    /// A branch, and everything else that is not a tag (such as a merge request's ref).
    #[default]
    Branch,
    /// A tag.
    Tag,
}

impl From<String> for RefType {
    fn from(name: String) -> Self {
        if name == "tag" {
            Self::Tag
        } else {
            Self::Branch
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_token_in_the_url() {
        let git = GitInfo {
            repo_url: "https://gitlab-ci-token:s3cret@gitlab.example/a/b.git".into(),
            ..GitInfo::default()
        };
        let shown = format!("{git:?}");
        assert!(shown.contains("https://gitlab.example/a/b.git"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
