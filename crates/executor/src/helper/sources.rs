//! Fetches and checks out a job's repository.

mod program;
mod submodules;

use std::fs;
use std::path::Path;
use std::time::Duration;

use onspot_gitlab::ansi;

use self::program::Work;
pub(super) use self::program::untracked;
use super::git;
use super::request::{HelperAnswer, Place, Sources, Strategy};
use super::taken_up::{Modules, TakenUp};
use super::{HelperError, blocking, place, say, taken_up};

/// The pause before the next attempt.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

pub(super) async fn get(at: &Place, sources: &Sources) -> Result<HelperAnswer, HelperError> {
    let work = Work { at, sources };
    let (here, wanted) = (at.clone(), sources.clone());
    let mut taken_up = blocking(move || prepare(&here, &wanted)).await?;
    write_login(at, sources)?;
    let attempts = sources.attempts.max(1);
    for attempt in 1..attempts {
        let Err(error) = once(work, taken_up.take()).await else {
            return Ok(HelperAnswer::Done);
        };
        let again = format!("{error}; trying again ({attempt} of {attempts})");
        say(&ansi::warning(&again));
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        clear(work, attempt > 1).await?;
    }
    once(work, taken_up).await.map(|()| HelperAnswer::Done)
}

/// One attempt, with the hooks around it.
async fn once(work: Work<'_>, taken_up: Option<TakenUp>) -> Result<(), HelperError> {
    let Work { at, sources } = work;
    if let Some(script) = &sources.before {
        work.shell(script, &at.builds).await?;
    }
    match sources.strategy {
        Strategy::None => say(&ansi::info("Skipping Git repository setup")),
        Strategy::Empty => say(&ansi::info(
            "Starting in an empty folder, without a repository",
        )),
        Strategy::Clone | Strategy::Fetch => check_out_somehow(work, taken_up).await?,
    }
    if let Some(script) = &sources.after {
        work.shell(script, Path::new(&at.project_dir())).await?;
    }
    Ok(())
}

/// Leaves no file of a failed attempt. At first what was fetched stays, as in GitLab Runner.
async fn clear(work: Work<'_>, completely: bool) -> Result<(), HelperError> {
    if !work.sources.strategy.has_repository() {
        return Ok(());
    }
    say(&ansi::info("Deleting all files, tracked or not..."));
    let is_cleared = !completely && work.run_all(&git::clear()).await.is_ok();
    if is_cleared && work.sources.clone_flags.is_none() {
        return Ok(());
    }
    let at = work.at.clone();
    blocking(move || place::empty(&at)).await
}

/// Creates the folders; returns the reused repository, if there is one.
fn prepare(at: &Place, sources: &Sources) -> Result<Option<TakenUp>, HelperError> {
    let keep = match sources.strategy {
        Strategy::Clone | Strategy::Empty => false,
        Strategy::None => true,
        Strategy::Fetch => taken_up::is_sound(at),
    };
    place::make(at, keep)?;
    if sources.strategy == Strategy::Fetch && keep {
        let with_modules = sources.submodules.is_some();
        return taken_up::disarm(at, sources.protected, with_modules).map(Some);
    }
    Ok(None)
}

/// Writes git's login next to the project. The folder is new and contains nothing of the job.
fn write_login(at: &Place, sources: &Sources) -> Result<(), HelperError> {
    let config = git::login_config(sources, at);
    let path = git::login_file(at);
    fs::write(&path, config).map_err(HelperError::file("write", &path))?;
    if let Some(pem) = &sources.ca_pem {
        let path = git::ca_file(at);
        fs::write(&path, pem).map_err(HelperError::file("write", &path))?;
    }
    Ok(())
}

/// Checks out; if leftovers of an earlier job prevent that, from a new clone.
async fn check_out_somehow(work: Work<'_>, taken_up: Option<TakenUp>) -> Result<(), HelperError> {
    let Some(mut taken_up) = taken_up else {
        return check_out(work, None).await;
    };
    let error = match check_out_kept(work, &mut taken_up).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let anew = format!("{error}; what an earlier job left is of no use, cloning anew");
    say(&ansi::warning(&anew));
    let here = work.at.clone();
    blocking(move || place::empty(&here)).await?;
    check_out(work, None).await
}

async fn check_out_kept(work: Work<'_>, taken_up: &mut TakenUp) -> Result<(), HelperError> {
    work.run_all(&git::init(work.sources, work.at)).await?;
    work.run_all(&git::verify(taken_up)).await?;
    work.run_all(&git::put_together(taken_up)).await?;
    let project = work.at.project_dir();
    taken_up.tips = commits(work, Path::new(&project), &taken_up.tips).await?;
    check_out(work, Some(taken_up)).await
}

async fn check_out(work: Work<'_>, taken_up: Option<&TakenUp>) -> Result<(), HelperError> {
    let Work { at, sources } = work;
    let depth = match sources.depth {
        0 => String::new(),
        depth => format!(" with git depth set to {depth}"),
    };
    if let Some(clone) = git::clone(sources) {
        let reference = &sources.reference;
        say(&ansi::info(&format!(
            "Cloning repository for {reference}{depth}..."
        )));
        work.run_all(&[clone]).await?;
        work.run_all(&git::init(sources, at)).await?;
    } else {
        say(&ansi::info(&format!("Fetching changes{depth}...")));
        if taken_up.is_none() {
            work.run_all(&git::init(sources, at)).await?;
        }
        say(&ansi::info(if taken_up.is_none() {
            "Created a fresh repository."
        } else {
            "Took up the repository."
        }));
        work.run_all(&git::fetch(sources, taken_up)).await?;
    }
    if sources.checkout {
        let short = sources.sha.get(..8).unwrap_or(&sources.sha);
        let what = format!(
            "Checking out {short} as detached HEAD (ref is {})...",
            sources.reference
        );
        say(&ansi::info(&what));
    } else {
        say(&ansi::info("Skipping Git checkout"));
    }
    work.run_all(&git::checkout(sources, taken_up)).await?;
    if taken_up.is_some() {
        submodules::empty_all(work).await?;
    }
    if sources.checkout && has_lfs(work).await {
        work.run_all(&git::pull_lfs()).await?;
    }
    let Some(wanted) = &sources.submodules else {
        say(&ansi::info("Skipping Git submodules setup"));
        return Ok(());
    };
    say(&ansi::info(&git::submodules_title(wanted)));
    let none = Modules::new();
    let kept = taken_up.map_or(&none, |taken_up| &taken_up.modules);
    submodules::update(work, wanted, kept).await
}

/// Whether files of git-lfs are to be fetched, and can be.
async fn has_lfs(work: Work<'_>) -> bool {
    work.sources.lfs && work.can(&["lfs", "version"]).await
}

/// Those of the given names that are commits of a repository.
async fn commits(work: Work<'_>, dir: &Path, names: &[String]) -> Result<Vec<String>, HelperError> {
    let asked = names.join("\n") + "\n";
    let ask = ["cat-file", "--batch-check=%(objectname) %(objecttype)"];
    let known = work.ask(dir, &ask, asked.as_bytes()).await?;
    let known = String::from_utf8_lossy(&known);
    let commits = known
        .lines()
        .filter_map(|line| line.strip_suffix(" commit"))
        .map(str::to_owned);
    Ok(commits.collect())
}
