//! The git commands for submodules.

use super::super::request::{Place, Sources, Submodules};
use super::super::taken_up::TakenUp;
use super::{GitCall, local, login_file, put_together};

/// Where a submodule's commit is kept until it is checked out, so that git does not fetch it again.
const COMMIT: &str = "refs/onspot/commit";

/// What the trace says of the update.
pub(in super::super) fn submodules_title(submodules: &Submodules) -> String {
    let recursively = if submodules.recursive {
        " recursively"
    } else {
        ""
    };
    let depth = match submodules.depth {
        0 => String::new(),
        depth => format!(" with git depth set to {depth}"),
    };
    format!("Updating/initializing submodules{recursively}{depth}...")
}

/// Copies the submodules' URLs to the repository's configuration.
pub(in super::super) fn init_submodules(paths: &[String]) -> Vec<GitCall> {
    vec![below(local(&["submodule", "init"]), paths)]
}

/// Makes kept objects of a submodule a repository again; runs in its git directory.
pub(in super::super) fn reconnect(sources: &Sources, kept: &TakenUp, url: &str) -> Vec<GitCall> {
    let mut init = own(&["init", "--quiet"]);
    if let Some(format) = &sources.object_format {
        init.args.push(format!("--object-format={format}"));
    }
    let heads = "+refs/heads/*:refs/remotes/origin/*";
    let mut calls = vec![
        init,
        own(&["config", "core.bare", "false"]),
        own(&["config", "remote.origin.url", url]),
        own(&["config", "remote.origin.fetch", heads]),
    ];
    let packs = kept.unverified.iter();
    calls.extend(packs.map(|pack| own(&["index-pack", &format!("objects/pack/{pack}")])));
    let together = put_together(kept).into_iter();
    calls.extend(together.map(|mut call| {
        call.args.insert(0, "--git-dir=.".into());
        call
    }));
    calls
}

/// Fetches a submodule's commit, and without a depth all branches, as a clone does.
pub(in super::super) fn fetch_submodule(
    submodules: &Submodules,
    kept: &TakenUp,
    tips: &[String],
    commit: &str,
) -> Vec<GitCall> {
    let mut fetch = own(&["fetch", "--quiet", "--no-recurse-submodules", "origin"]);
    let args = &mut fetch.args;
    args.push(format!("+{commit}:{COMMIT}"));
    if submodules.depth > 0 {
        args.extend(["--depth".into(), submodules.depth.to_string()]);
    } else {
        args.push("+refs/heads/*:refs/remotes/origin/*".into());
        if kept.is_shallow {
            args.push("--unshallow".into());
        }
    }
    args.extend(tips.iter().map(|tip| format!("--negotiation-tip={tip}")));
    vec![fetch]
}

/// Removes what kept the commit; runs in a submodule's git directory.
pub(in super::super) fn forget_commit() -> Vec<GitCall> {
    vec![own(&["update-ref", "-d", COMMIT])]
}

/// Clones what is missing and checks out the commits. Not recursive: each level is its own command,
/// so that what is kept of it can be made ready before.
pub(in super::super) fn update_submodules(
    submodules: &Submodules,
    paths: &[String],
) -> Vec<GitCall> {
    let mut update = local(&["submodule", "update", "--init"]);
    if submodules.depth > 0 {
        let depth = submodules.depth.to_string();
        update.args.extend(["--depth".into(), depth]);
    }
    update.args.extend(submodules.update_flags.iter().cloned());
    vec![below(update, paths)]
}

/// The same after a failure, as in GitLab Runner: the branch that `--remote` follows is not among
/// what a clone of some depth fetches.
pub(in super::super) fn update_submodules_again(
    submodules: &Submodules,
    paths: &[String],
) -> Vec<GitCall> {
    let mut calls = vec![below(local(&["submodule", "sync"]), paths)];
    if submodules.follows_branches() {
        let fetch = "git fetch origin +refs/heads/*:refs/remotes/origin/*";
        calls.push(local(&["submodule", "foreach", "--quiet", fetch]));
    }
    calls.extend(update_submodules(submodules, paths));
    calls
}

/// Lets the job's own git commands in submodules use the login.
pub(in super::super) fn include_login_in_submodules(place: &Place) -> Vec<GitCall> {
    let file = login_file(place).replace('\'', r"'\''");
    let include = format!("git config include.path '{file}'");
    vec![local(&[
        "submodule",
        "foreach",
        "--quiet",
        "--recursive",
        &include,
    ])]
}

/// Fetches the submodules' files of git-lfs.
pub(in super::super) fn pull_lfs_in_submodules(submodules: &Submodules) -> Vec<GitCall> {
    let mut pull = local(&["submodule", "foreach", "--quiet"]);
    if submodules.recursive {
        pull.args.push("--recursive".into());
    }
    pull.args.push("git lfs pull".into());
    vec![pull]
}

fn below(mut call: GitCall, paths: &[String]) -> GitCall {
    if !paths.is_empty() {
        call.args.push("--".into());
        call.args.extend(paths.iter().cloned());
    }
    call
}

/// A command in a git directory itself.
fn own(args: &[&str]) -> GitCall {
    let mut call = local(&["--git-dir=."]);
    call.args.extend(args.iter().map(|&arg| arg.to_owned()));
    call
}
