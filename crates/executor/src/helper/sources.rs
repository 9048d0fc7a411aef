//! Fetches and checks out a job's repository.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use onspot_gitlab::ansi;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::git::{self, GitCall};
use super::request::{HelperAnswer, Place, Sources, Strategy};
use super::taken_up::TakenUp;
use super::{HelperError, blocking, place, say, taken_up};

/// The pause before fetching again.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

pub(super) async fn get(at: &Place, sources: &Sources) -> Result<HelperAnswer, HelperError> {
    let (here, wanted) = (at.clone(), sources.clone());
    let taken_up = blocking(move || prepare(&here, &wanted)).await?;
    write_login(at, sources)?;
    if let Some(script) = &sources.before {
        shell(script, &at.builds, at, sources).await?;
    }
    match sources.strategy {
        Strategy::None => say(&ansi::info("Skipping Git repository setup")),
        Strategy::Empty => say(&ansi::info(
            "Starting in an empty folder, without a repository",
        )),
        Strategy::Clone | Strategy::Fetch => check_out_somehow(at, sources, taken_up).await?,
    }
    if let Some(script) = &sources.after {
        shell(script, Path::new(&at.project_dir()), at, sources).await?;
    }
    Ok(HelperAnswer::Done)
}

/// Creates the folders; returns the reused repository, if there is one.
fn prepare(at: &Place, sources: &Sources) -> Result<Option<TakenUp>, HelperError> {
    let keep = match sources.strategy {
        Strategy::Clone | Strategy::Empty => false,
        Strategy::None => true,
        // Each submodule has its own configuration, which could contain anything.
        Strategy::Fetch => sources.submodules.is_none() && taken_up::is_sound(at),
    };
    place::make(at, keep)?;
    if sources.strategy == Strategy::Fetch && keep {
        return taken_up::disarm(at, sources.protected).map(Some);
    }
    Ok(None)
}

/// Writes git's login next to the project. The folder is new and contains nothing of the job.
fn write_login(at: &Place, sources: &Sources) -> Result<(), HelperError> {
    let config = git::login_config(sources.login.as_ref(), sources, at);
    let path = git::login_file(at);
    fs::write(&path, config).map_err(HelperError::file("write", &path))?;
    if let Some(pem) = &sources.ca_pem {
        let path = git::ca_file(at);
        fs::write(&path, pem).map_err(HelperError::file("write", &path))?;
    }
    Ok(())
}

/// Checks out; if leftovers of an earlier job prevent that, from a new clone.
async fn check_out_somehow(
    at: &Place,
    sources: &Sources,
    taken_up: Option<TakenUp>,
) -> Result<(), HelperError> {
    let Some(mut taken_up) = taken_up else {
        return check_out(at, sources, None).await;
    };
    let error = match check_out_kept(at, sources, &mut taken_up).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let anew = format!("{error}; what an earlier job left is of no use, cloning anew");
    say(&ansi::warning(&anew));
    let here = at.clone();
    blocking(move || place::empty(&here)).await?;
    check_out(at, sources, None).await
}

async fn check_out_kept(
    at: &Place,
    sources: &Sources,
    taken_up: &mut TakenUp,
) -> Result<(), HelperError> {
    run_all(&git::init(sources, at), at, sources).await?;
    run_all(&git::verify(taken_up), at, sources).await?;
    run_all(&git::put_together(taken_up), at, sources).await?;
    taken_up.tips = commits(at, &taken_up.tips).await?;
    check_out(at, sources, Some(taken_up)).await
}

async fn check_out(
    at: &Place,
    sources: &Sources,
    taken_up: Option<&TakenUp>,
) -> Result<(), HelperError> {
    let depth = match sources.depth {
        0 => String::new(),
        depth => format!(" with git depth set to {depth}"),
    };
    say(&ansi::info(&format!("Fetching changes{depth}...")));
    if taken_up.is_none() {
        run_all(&git::init(sources, at), at, sources).await?;
    }
    say(&ansi::info(if taken_up.is_none() {
        "Created a fresh repository."
    } else {
        "Took up the repository."
    }));
    run_all(&git::fetch(sources, taken_up), at, sources).await?;
    if sources.checkout {
        let short = sources.sha.get(..8).unwrap_or(&sources.sha);
        let what = format!("Checking out {short} (ref is {})...", sources.reference);
        say(&ansi::info(&what));
    } else {
        say(&ansi::info("Skipping Git checkout"));
    }
    run_all(&git::checkout(sources, taken_up), at, sources).await?;
    match &sources.submodules {
        None => say(&ansi::info("Skipping Git submodules setup")),
        Some(submodules) => {
            say(&ansi::info("Updating submodules..."));
            run_all(&git::submodules(submodules, at), at, sources).await?;
        }
    }
    Ok(())
}

/// Those of the given names that are commits of the repository.
async fn commits(at: &Place, names: &[String]) -> Result<Vec<String>, HelperError> {
    let asked = names.join("\n") + "\n";
    let mut git = Command::new("git");
    overrule(&mut git, at, &[]);
    git.args(["cat-file", "--batch-check=%(objectname) %(objecttype)"]);
    let known = output(&mut git, at, asked.as_bytes()).await?;
    let known = String::from_utf8_lossy(&known);
    let commits = known
        .lines()
        .filter_map(|line| line.strip_suffix(" commit"))
        .map(str::to_owned);
    Ok(commits.collect())
}

async fn run_all(calls: &[GitCall], at: &Place, sources: &Sources) -> Result<(), HelperError> {
    for call in calls {
        let attempts = if call.remote {
            sources.attempts.max(1)
        } else {
            1
        };
        for attempt in 1..=attempts {
            match run(call, at, sources).await {
                Ok(()) => break,
                Err(HelperError::Program { .. }) if call.may_fail => break,
                Err(error) if attempt == attempts => return Err(error),
                Err(error) => {
                    let again = format!("{error}; trying again ({attempt} of {attempts})");
                    say(&ansi::warning(&again));
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
            }
        }
    }
    Ok(())
}

async fn run(call: &GitCall, at: &Place, sources: &Sources) -> Result<(), HelperError> {
    let status = command("git", Path::new(&at.project_dir()), at, sources)
        .args(&call.args)
        .stdin(Stdio::null())
        .status()
        .await
        .map_err(HelperError::file("run", "git"))?;
    if status.success() {
        return Ok(());
    }
    let verb = call
        .args
        .iter()
        .find(|arg| !arg.starts_with('-') && !arg.contains('='));
    Err(HelperError::Program {
        command: format!("git {}", verb.map_or("", String::as_str)),
        status: status.to_string(),
    })
}

/// Runs a script before or after the check-out.
async fn shell(script: &str, dir: &Path, at: &Place, sources: &Sources) -> Result<(), HelperError> {
    let failed = |error| HelperError::file("run", "bash")(error);
    let mut child = command("bash", dir, at, sources)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A script that ends early does not read the rest.
        let _ = stdin.write_all(script.as_bytes()).await;
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(HelperError::Program {
        command: "the script".into(),
        status: status.to_string(),
    })
}

/// A program with the job's variables, whose whole output goes to the trace.
fn command(program: &str, dir: &Path, at: &Place, sources: &Sources) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(dir)
        .envs(sources.environment.iter().map(|(key, value)| (key, value)))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GCM_INTERACTIVE", "Never")
        .kill_on_drop(true)
        // Standard output is reserved for the answer.
        .stdout(std::io::stderr());
    overrule(&mut command, at, &sources.environment);
    command
}

/// Makes our git settings override the repository's; they follow those that the job sets in the
/// same way.
fn overrule(command: &mut Command, at: &Place, environment: &[(String, String)]) {
    let first = git::settings_of_job(environment);
    let overrides = git::overrides(at);
    command.env("GIT_CONFIG_COUNT", (first + overrides.len()).to_string());
    for (index, (key, value)) in overrides.into_iter().enumerate() {
        let index = first + index;
        command.env(format!("GIT_CONFIG_KEY_{index}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
}

/// The files in the project's folder that git does not track, NUL-separated.
pub(super) async fn untracked(at: &Place) -> Result<Vec<u8>, HelperError> {
    let mut git = Command::new("git");
    overrule(&mut git, at, &[]);
    git.args(["ls-files", "--others", "-z"]);
    output(&mut git, at, b"").await
}

/// The output of a git command.
async fn output(git: &mut Command, at: &Place, input: &[u8]) -> Result<Vec<u8>, HelperError> {
    let failed = |error| HelperError::file("run", "git")(error);
    let mut child = git
        .current_dir(at.project_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A program that ends early does not read the rest.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    say(String::from_utf8_lossy(&output.stderr).trim_end());
    let verb = git.as_std().get_args().next().unwrap_or_default();
    Err(HelperError::Program {
        command: format!("git {}", verb.to_string_lossy()),
        status: output.status.to_string(),
    })
}
