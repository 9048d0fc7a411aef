//! A folder's files as commits in a GitLab: what people do by `git push`.

use std::ffi::OsStr;
use std::path::Path;

use base64::Engine;
use tokio::process::Command;
use url::Url;

use crate::error::Error;
use crate::git;

/// Push a folder's files as a new commit on `main`, and return the commit.
///
/// The folder is only read; what its `.gitignore` names stays out.
///
/// # Errors
///
/// If there is no git, or the repository does not take the push.
pub async fn push_folder(dir: &Path, repository: &Url, token: &str) -> Result<String, Error> {
    let name = dir.file_name().unwrap_or(OsStr::new("files"));
    let message = format!("Push {}", name.display());
    push_commits(dir, repository, token, &[&message]).await
}

/// The same as several commits, one a message, in one push; returns the last one. All of them
/// hold the same files.
///
/// # Errors
///
/// As for [`push_folder`].
pub async fn push_commits(
    dir: &Path,
    repository: &Url,
    token: &str,
    messages: &[&str],
) -> Result<String, Error> {
    let temporary = tempfile::tempdir().map_err(Error::temporary_folder)?;
    let work = WorkTree {
        repository: &temporary.path().join("repository.git"),
        dir,
        token,
    };
    git::run(git::command(work.repository).args(["init", "--quiet", "--bare"])).await?;
    work.git(&["add", "--all", "."]).await?;
    let tree = work.git(&["write-tree"]).await?;
    let branch = "+refs/heads/main:refs/remotes/origin/main";
    // The first push has nothing to build upon.
    let mut head = match work
        .git(&["fetch", "--quiet", repository.as_str(), branch])
        .await
    {
        Ok(_) => Some(work.git(&["rev-parse", "refs/remotes/origin/main"]).await?),
        Err(missing @ Error::GitMissing { .. }) => return Err(missing),
        Err(_) => None,
    };
    for message in messages {
        let mut commit = vec!["commit-tree", &tree, "-m", message];
        if let Some(parent) = &head {
            commit.extend(["-p", parent]);
        }
        head = Some(work.git(&commit).await?);
    }
    let sha = head.unwrap_or_default();
    let target = format!("{sha}:refs/heads/main");
    work.git(&["push", "--quiet", "--force", repository.as_str(), &target])
        .await?;
    Ok(sha)
}

/// A folder as the work tree of a repository elsewhere.
struct WorkTree<'a> {
    repository: &'a Path,
    dir: &'a Path,
    token: &'a str,
}

impl WorkTree<'_> {
    /// What a git command prints.
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
            // In the environment, as arguments can be seen by every process.
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
