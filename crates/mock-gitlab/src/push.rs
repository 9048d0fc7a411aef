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
    let name = dir.file_name().unwrap_or(OsStr::new("files"));
    let message = format!("Push {}", name.display());
    push_commits(dir, repository, token, &[&message]).await
}

/// Like [`push_folder`], but with one commit per message in a single push; returns the last commit.
/// All of them contain the same files.
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
    // The first push has no parent commit.
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
