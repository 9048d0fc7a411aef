//! A folder's files as a commit in a GitLab.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;

use base64::Engine;
use tokio::process::Command;
use url::Url;

use super::PushError;

/// Push a folder's files as a new commit on `main`, and return the commit.
///
/// The folder is only read; what its `.gitignore` names stays out.
pub async fn publish(dir: &Path, repository: &Url, token: &str) -> Result<String, PushError> {
    let name = dir.file_name().unwrap_or(OsStr::new("files"));
    let message = format!("Push {}", name.display());
    publish_commits(dir, repository, token, &[&message]).await
}

/// The same as several commits, one a message, in one push; returns the last one. All of them
/// hold the same files.
pub async fn publish_commits(
    dir: &Path,
    repository: &Url,
    token: &str,
    messages: &[&str],
) -> Result<String, PushError> {
    let temporary = tempfile::tempdir().map_err(PushError::Folder)?;
    let own = temporary.path().join("repository.git");
    let git = Git {
        repository: &own,
        work_tree: dir,
        token,
    };
    git.run(&["init", "--quiet", "--bare"]).await?;
    git.run(&["add", "--all", "."]).await?;
    let tree = git.run(&["write-tree"]).await?;
    let branch = "+refs/heads/main:refs/remotes/origin/main";
    // The first push has nothing to build upon.
    let mut head = match git
        .run(&["fetch", "--quiet", repository.as_str(), branch])
        .await
    {
        Ok(_) => Some(git.run(&["rev-parse", "refs/remotes/origin/main"]).await?),
        Err(PushError::GitMissing(source)) => return Err(PushError::GitMissing(source)),
        Err(_) => None,
    };
    for message in messages {
        let mut commit = vec!["commit-tree", &tree, "-m", message];
        if let Some(parent) = &head {
            commit.extend(["-p", parent]);
        }
        head = Some(git.run(&commit).await?);
    }
    let sha = head.unwrap_or_default();
    let target = format!("{sha}:refs/heads/main");
    git.run(&["push", "--quiet", "--force", repository.as_str(), &target])
        .await?;
    Ok(sha)
}

/// Git with a repository of its own, the folder as its work tree, and nobody's configuration.
struct Git<'a> {
    repository: &'a Path,
    work_tree: &'a Path,
    token: &'a str,
}

impl Git<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<String, PushError> {
        let step = arguments.first().copied().unwrap_or_default();
        let output = self
            .command(arguments, step)
            .output()
            .await
            .map_err(PushError::GitMissing)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let Output {
            status,
            stdout,
            stderr,
        } = &output;
        if status.success() {
            return Ok(text(stdout));
        }
        Err(PushError::GitFailed {
            step: step.to_owned(),
            message: text(stderr),
        })
    }

    fn command(&self, arguments: &[&str], step: &str) -> Command {
        let credentials =
            base64::engine::general_purpose::STANDARD.encode(format!("oauth2:{}", self.token));
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.work_tree)
            .env("GIT_DIR", self.repository)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            // In the environment, as arguments can be seen by every process.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env(
                "GIT_CONFIG_VALUE_0",
                format!("Authorization: Basic {credentials}"),
            )
            .kill_on_drop(true);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "onspot");
            command.env(format!("GIT_{role}_EMAIL"), "onspot@example.com");
        }
        if step != "init" {
            command.env("GIT_WORK_TREE", ".");
        }
        command
    }
}
