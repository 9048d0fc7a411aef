//! Submodules: their working trees are always made anew; their objects are kept like the
//! project's own, and given to git with a new configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onspot_gitlab::ansi;

use super::super::git;
use super::super::request::Submodules;
use super::super::taken_up::{Modules, TakenUp};
use super::super::{HelperError, blocking, place, say};
use super::program::Work;
use super::{commits, has_lfs};

/// A repository with submodules: the project's own, or a submodule itself.
struct Level<'a> {
    dir: PathBuf,
    git_dir: PathBuf,
    kept: &'a Modules,
    /// What limits the submodules; applies only to the project's own.
    paths: &'a [String],
}

/// A submodule as a commit has it.
struct Link {
    path: String,
    commit: String,
}

/// Empties the folders of submodules that an earlier job left: a file `.git` in them could lead
/// git to any configuration.
pub(super) async fn empty_all(work: Work<'_>) -> Result<(), HelperError> {
    let links = links(work, Path::new(&work.at.project_dir())).await?;
    let at = work.at.clone();
    blocking(move || {
        links
            .iter()
            .try_for_each(|link| place::empty_below(&at, Path::new(&link.path)))
    })
    .await
}

/// Updates the submodules to the commit's versions.
pub(super) async fn update(
    work: Work<'_>,
    wanted: &Submodules,
    kept: &Modules,
) -> Result<(), HelperError> {
    let dir = PathBuf::from(work.at.project_dir());
    let top = Level {
        git_dir: dir.join(".git"),
        dir,
        kept,
        paths: &wanted.paths,
    };
    update_level(work, wanted, &top).await?;
    work.run_all(&git::include_login_in_submodules(work.at))
        .await?;
    if has_lfs(work).await {
        work.run_all(&git::pull_lfs_in_submodules(wanted)).await?;
    }
    Ok(())
}

async fn update_level(
    work: Work<'_>,
    wanted: &Submodules,
    level: &Level<'_>,
) -> Result<(), HelperError> {
    let names = names(work, &level.dir).await?;
    if names.is_empty() {
        return Ok(());
    }
    let links = links(work, &level.dir).await?;
    let named = || {
        links
            .iter()
            .filter_map(|link| Some((names.get(&link.path)?, link)))
    };
    work.run_all_in(&level.dir, &git::init_submodules(level.paths))
        .await?;
    let mut reconnected = Vec::new();
    for (name, kept) in level.kept {
        let link = named().find(|(known, _)| *known == name);
        let git_dir = level.git_dir.join("modules").join(name);
        let link = link.filter(|_| !wanted.follows_branches());
        if reconnect(work, wanted, level, name, kept, link.map(|(_, link)| link)).await {
            reconnected.push(git_dir);
        }
    }
    let update = git::update_submodules(wanted, level.paths);
    if let Err(error) = work.run_all_in(&level.dir, &update).await {
        say(&ansi::warning(&format!("{error}; updating again")));
        work.run_all_in(
            &level.dir,
            &git::update_submodules_again(wanted, level.paths),
        )
        .await?;
    }
    for git_dir in reconnected {
        work.run_all_in(&git_dir, &git::forget_commit()).await?;
    }
    if !wanted.recursive {
        return Ok(());
    }
    let none = Modules::new();
    for (name, link) in named() {
        let dir = level.dir.join(&link.path);
        if !dir.join(".git").is_file() {
            continue;
        }
        let below = Level {
            dir,
            git_dir: level.git_dir.join("modules").join(name),
            kept: level.kept.get(name).map_or(&none, |kept| &kept.modules),
            paths: &[],
        };
        Box::pin(update_level(work, wanted, &below)).await?;
    }
    Ok(())
}

/// Makes what is kept of a submodule a repository again that has the wanted commit, so that git
/// need not clone it. If that is impossible, or it is not wanted, it is removed.
async fn reconnect(
    work: Work<'_>,
    wanted: &Submodules,
    level: &Level<'_>,
    name: &str,
    kept: &TakenUp,
    link: Option<&Link>,
) -> bool {
    let git_dir = level.git_dir.join("modules").join(name);
    let attempt = async {
        let link = link?;
        let key = format!("submodule.{name}.url");
        let url = work.ask(&level.dir, &["config", "--get", &key], b"").await;
        let url = String::from_utf8(url.ok()?).ok()?;
        let calls = git::reconnect(work.sources, kept, url.trim_end_matches('\n'));
        work.run_all_in(&git_dir, &calls).await.ok()?;
        let tips = commits(work, &git_dir, &kept.tips).await.ok()?;
        let fetch = git::fetch_submodule(wanted, kept, &tips, &link.commit);
        work.run_all_in(&git_dir, &fetch).await.ok()
    };
    if attempt.await.is_some() {
        return true;
    }
    // What can't be removed makes git fail, which says more.
    let _ = blocking(move || place::remove(&git_dir)).await;
    false
}

/// The submodules in the index.
async fn links(work: Work<'_>, dir: &Path) -> Result<Vec<Link>, HelperError> {
    let listed = work.ask(dir, &["ls-files", "--stage", "-z"], b"").await?;
    let listed = String::from_utf8_lossy(&listed);
    let links = listed.split('\0').filter_map(|entry| {
        let (commit, path) = entry.strip_prefix("160000 ")?.split_once('\t')?;
        Some(Link {
            path: path.to_owned(),
            commit: commit.split(' ').next()?.to_owned(),
        })
    });
    Ok(links.collect())
}

/// The names of submodules by their paths, as the commit's `.gitmodules` has them.
async fn names(work: Work<'_>, dir: &Path) -> Result<BTreeMap<String, String>, HelperError> {
    const FILE: &str = ".gitmodules";
    if !dir.join(FILE).is_file() {
        return Ok(BTreeMap::new());
    }
    // All of them: with a pattern, git fails if there are none.
    let listed = work
        .ask(dir, &["config", "-z", "--file", FILE, "--list"], b"")
        .await?;
    let listed = String::from_utf8_lossy(&listed);
    let names = listed.split('\0').filter_map(|entry| {
        let (key, path) = entry.split_once('\n')?;
        let name = key.strip_prefix("submodule.")?.strip_suffix(".path")?;
        Some((path.to_owned(), name.to_owned()))
    });
    Ok(names.collect())
}
