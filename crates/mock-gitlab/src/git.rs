//! The bare repositories on disk, managed by the `git` program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

use crate::error::Error;
use crate::ids::ProjectId;
use crate::model::Commit;

/// The null id, by which git says that a ref did not exist.
pub(crate) const ZERO: &str = "0000000000000000000000000000000000000000";

/// The usual hash function of a repository.
pub(crate) const SHA1: &str = "sha1";

/// The other one.
pub(crate) const SHA256: &str = "sha256";

/// Where a project's repository is.
pub(crate) fn path(dir: &Path, project: ProjectId) -> PathBuf {
    dir.join(format!("{project}.git"))
}

/// A git command that is independent of the host's configuration.
pub(crate) fn command(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("--git-dir")
        .arg(repository)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .kill_on_drop(true);
    command
}

/// A repository's configuration beyond git's defaults.
const CONFIG: &str = "\
[http]
\treceivepack = true
[uploadpack]
\t# A runner fetches exactly the commit of its pipeline.
\tallowAnySHA1InWant = true
[receive]
\tdenyDeleteCurrent = ignore
\tautogc = false
[gc]
\tauto = 0
";

/// Create an empty bare repository that accepts pushes.
pub(crate) async fn init(repository: &Path, object_format: &str) -> Result<(), Error> {
    let format = format!("--object-format={object_format}");
    let init = [
        "init",
        "--quiet",
        "--bare",
        "--initial-branch=main",
        &format,
    ];
    run(command(repository).args(init)).await?;
    let path = repository.join("config");
    let failed = Error::folder(repository);
    let mut config = tokio::fs::read_to_string(&path).await.map_err(&failed)?;
    config.push_str(CONFIG);
    tokio::fs::write(&path, config).await.map_err(&failed)
}

/// Set the branch that a clone checks out.
pub(crate) async fn set_head(repository: &Path, branch: &str) -> Result<(), Error> {
    let target = format!("refs/heads/{branch}");
    run(command(repository).args(["symbolic-ref", "HEAD", &target]))
        .await
        .map(drop)
}

/// All branches and tags, with what they point to.
pub(crate) async fn refs(repository: &Path) -> Result<BTreeMap<String, String>, Error> {
    let format = "--format=%(refname) %(objectname) %(*objectname)";
    let output =
        run(command(repository).args(["for-each-ref", format, "refs/heads", "refs/tags"])).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let object = words.next()?;
            // An annotated tag points to a tag object, which has to be peeled to its commit.
            let commit = words
                .next()
                .filter(|peeled| !peeled.is_empty())
                .unwrap_or(object);
            Some((name, commit.to_owned()))
        })
        .collect())
}

/// Set one of the server's own refs to a commit.
pub(crate) async fn set_ref(repository: &Path, name: &str, sha: &str) -> Result<(), Error> {
    run(command(repository).args(["update-ref", name, sha]))
        .await
        .map(drop)
}

/// A commit's author, time and message.
pub(crate) async fn commit(repository: &Path, sha: &str) -> Result<Commit, Error> {
    let format = "--format=%H%x00%s%x00%an%x00%ae%x00%cI%x00%B";
    let output = run(command(repository).args(["log", "-1", format, sha])).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut parts = text.trim_end().splitn(6, '\0').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Ok(Commit {
        sha: next(),
        title: next(),
        author_name: next(),
        author_email: next(),
        timestamp: next(),
        message: next(),
    })
}

/// A file's content at a commit; `None` if it is not there.
pub(crate) async fn file(
    repository: &Path,
    sha: &str,
    name: &str,
) -> Result<Option<String>, Error> {
    let object = format!("{sha}:{name}");
    // The commit exists, so a failure means that the file does not.
    let output = output(command(repository).args(["cat-file", "blob", &object])).await?;
    let found = output.status.success();
    Ok(found.then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The paths of all files at a commit.
pub(crate) async fn paths(repository: &Path, sha: &str) -> Result<Vec<String>, Error> {
    let listed = run(command(repository).args(["ls-tree", "-r", "-z", "--name-only", sha])).await?;
    Ok(names(&listed.stdout))
}

/// The paths of the files that differ between two commits.
pub(crate) async fn changed(repository: &Path, from: &str, to: &str) -> Result<Vec<String>, Error> {
    let arguments = ["diff", "--name-only", "--no-renames", "-z", from, to, "--"];
    let listed = run(command(repository).args(arguments)).await?;
    Ok(names(&listed.stdout))
}

/// The paths changed since the merge base with another commit; `None` if there is no such commit
/// or no merge base.
pub(crate) async fn changed_since(
    repository: &Path,
    other: &str,
    sha: &str,
) -> Result<Option<Vec<String>>, Error> {
    let mut merge_base = command(repository);
    let base = output(merge_base.args(["merge-base", "--end-of-options", other, sha])).await?;
    if !base.status.success() {
        return Ok(None);
    }
    let base = String::from_utf8_lossy(&base.stdout);
    changed(repository, base.trim(), sha).await.map(Some)
}

/// The names in a NUL-separated list.
fn names(listed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(listed);
    let names = text.split('\0').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// The last commit up to `sha` that changed a file; `None` if none did.
pub(crate) async fn last_change(
    repository: &Path,
    sha: &str,
    name: &str,
) -> Result<Option<String>, Error> {
    let output =
        run(command(repository).args(["log", "-1", "--format=%H", sha, "--", name])).await?;
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(Some(commit).filter(|commit| !commit.is_empty()))
}

/// Run a command that must succeed.
pub(crate) async fn run(command: &mut Command) -> Result<Output, Error> {
    let output = output(command).await?;
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::GitFailed {
        command: shown(command),
        message,
    })
}

async fn output(command: &mut Command) -> Result<Output, Error> {
    command.output().await.map_err(|source| Error::GitMissing {
        command: shown(command),
        source,
    })
}

fn shown(command: &Command) -> String {
    let arguments = command
        .as_std()
        .get_args()
        .skip(2)
        .map(|argument| argument.to_string_lossy());
    arguments.fold("git".to_owned(), |line, argument| {
        format!("{line} {argument}")
    })
}
