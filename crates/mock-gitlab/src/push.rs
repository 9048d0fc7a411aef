//! Pushes a folder's files as commits to a GitLab, like `git push`.

use std::ffi::OsStr;
use std::path::Path;

use base64::Engine;
use tokio::process::Command;
use url::Url;

use crate::error::Error;
use crate::git;

/// Push a folder's files as a new commit on `main`, and return the commit.
///
/// The folder is only read; files in its `.gitignore` are left out.
///
/// # Errors
///
/// If git is missing, or the repository refuses the push.
pub async fn push_folder(dir: &Path, repository: &Url, token: &str) -> Result<String, Error> {
    Push::new(dir, repository, token).send().await
}

/// A folder's files, to be pushed as commits.
#[derive(Debug, Clone)]
pub struct Push<'a> {
    dir: &'a Path,
    repository: &'a Url,
    token: &'a str,
    messages: Vec<String>,
    target: String,
    object_format: &'static str,
    submodules: Vec<(&'a str, &'a str)>,
}

impl<'a> Push<'a> {
    /// One commit for the branch `main`.
    pub fn new(dir: &'a Path, repository: &'a Url, token: &'a str) -> Self {
        let name = dir.file_name().unwrap_or(OsStr::new("files"));
        Self {
            dir,
            repository,
            token,
            messages: vec![format!("Push {}", name.display())],
            target: "refs/heads/main".to_owned(),
            object_format: git::SHA1,
            submodules: Vec::new(),
        }
    }

    /// One commit per message instead, in a single push. All of them contain the same files.
    #[must_use]
    pub fn messages(mut self, messages: &[&str]) -> Self {
        self.messages = messages.iter().map(|&text| text.to_owned()).collect();
        self
    }

    /// For a tag instead of the branch.
    #[must_use]
    pub fn tag(mut self, name: &str) -> Self {
        self.target = format!("refs/tags/{name}");
        self
    }

    /// To a repository that uses SHA-256.
    #[must_use]
    pub fn sha256(mut self) -> Self {
        self.object_format = git::SHA256;
        self
    }

    /// With a submodule at a path, at a commit. Its URL has to be in the folder's `.gitmodules`.
    #[must_use]
    pub fn submodule(mut self, path: &'a str, commit: &'a str) -> Self {
        self.submodules.push((path, commit));
        self
    }

    /// Push, and return the last commit. The folder is only read; files in its `.gitignore` are
    /// left out.
    ///
    /// # Errors
    ///
    /// If git is missing, or the repository refuses the push.
    pub async fn send(self) -> Result<String, Error> {
        let temporary = tempfile::tempdir().map_err(Error::temporary_folder)?;
        let work = WorkTree {
            repository: &temporary.path().join("repository.git"),
            dir: self.dir,
            token: self.token,
        };
        git::init(work.repository, self.object_format).await?;
        work.git(&["add", "--all", "."]).await?;
        for (path, commit) in &self.submodules {
            let entry = format!("160000,{commit},{path}");
            work.git(&["update-index", "--add", "--cacheinfo", &entry])
                .await?;
        }
        let tree = work.git(&["write-tree"]).await?;
        let branch = "+refs/heads/main:refs/remotes/origin/main";
        let repository = self.repository.as_str();
        // The first push has no parent commit.
        let fetched = work.git(&["fetch", "--quiet", repository, branch]).await;
        let mut head = match fetched {
            Ok(_) => Some(work.git(&["rev-parse", "refs/remotes/origin/main"]).await?),
            Err(missing @ Error::GitMissing { .. }) => return Err(missing),
            Err(_) => None,
        };
        for message in &self.messages {
            let mut commit = vec!["commit-tree", &tree, "-m", message];
            if let Some(parent) = &head {
                commit.extend(["-p", parent]);
            }
            head = Some(work.git(&commit).await?);
        }
        let sha = head.unwrap_or_default();
        let target = format!("{sha}:{}", self.target);
        work.git(&["push", "--quiet", "--force", repository, &target])
            .await?;
        Ok(sha)
    }
}

/// A folder as the work tree of a repository stored elsewhere.
struct WorkTree<'a> {
    repository: &'a Path,
    dir: &'a Path,
    token: &'a str,
}

impl WorkTree<'_> {
    /// The output of a git command.
    async fn git(&self, arguments: &[&str]) -> Result<String, Error> {
        let output = git::run(self.command().args(arguments)).await?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn command(&self) -> Command {
        let credentials =
            base64::engine::general_purpose::STANDARD.encode(format!("oauth2:{}", self.token));
        let mut command = git::command(self.repository);
        command
            .current_dir(self.dir)
            .env("GIT_WORK_TREE", ".")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            // In the environment, because every process can read arguments.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env(
                "GIT_CONFIG_VALUE_0",
                format!("Authorization: Basic {credentials}"),
            );
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "onspot");
            command.env(format!("GIT_{role}_EMAIL"), "onspot@example.com");
        }
        command
    }
}
