//! The git commands that create a working tree: pure, derived only from the request.

use std::fmt::Write;

use super::request::{Place, Sources};
use super::taken_up::TakenUp;

mod submodules;

pub(super) use submodules::{
    fetch_submodule, forget_commit, include_login_in_submodules, init_submodules,
    pull_lfs_in_submodules, reconnect, submodules_title, update_submodules,
    update_submodules_again,
};

/// A git command in the project's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitCall {
    /// The arguments, without `git` itself.
    pub(super) args: Vec<String>,
    /// Whether its failure is acceptable, because its exit code has another meaning.
    pub(super) may_fail: bool,
}

fn local(args: &[&str]) -> GitCall {
    GitCall {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        may_fail: false,
    }
}

/// Creates the repository, or reinitialises a reused one whose configuration was removed.
pub(super) fn init(sources: &Sources, place: &Place) -> Vec<GitCall> {
    let mut init = local(&["-c", "init.defaultBranch=none", "init", "--quiet"]);
    if let Some(format) = &sources.object_format {
        init.args.push(format!("--object-format={format}"));
    }
    vec![
        init,
        local(&["config", "fetch.recurseSubmodules", "false"]),
        local(&["config", "credential.interactive", "never"]),
        local(&["config", "remote.origin.url", &sources.url]),
        // The login applies to the job's own git commands while the job runs; afterwards the file
        // is gone.
        local(&["config", "include.path", &login_file(place)]),
    ]
}

/// Clones, if the job asks for that instead of fetching.
pub(super) fn clone(sources: &Sources) -> Option<GitCall> {
    let flags = sources.clone_flags.as_ref()?;
    let mut clone = local(&["clone", "--no-checkout", &sources.url, "."]);
    let args = &mut clone.args;
    if sources.depth > 0 {
        args.extend(["--depth".into(), sources.depth.to_string()]);
    }
    args.extend(["--branch".into(), sources.reference.clone()]);
    args.extend(flags.iter().cloned());
    Some(clone)
}

/// Removes the files of a failed attempt.
pub(super) fn clear() -> Vec<GitCall> {
    vec![
        local(&["rm", "-rf", "--ignore-unmatch", "--quiet", "."]),
        local(&["clean", "-ffdx", "-q"]),
    ]
}

/// Fetches the files of git-lfs.
pub(super) fn pull_lfs() -> Vec<GitCall> {
    vec![local(&["lfs", "pull"])]
}

/// Recomputes the name of every object of a reused repository from its content: an old pack index
/// could map an object's name to another object's content.
pub(super) fn verify(taken_up: &TakenUp) -> Vec<GitCall> {
    let index = |pack: &String| local(&["index-pack", &format!(".git/objects/pack/{pack}")]);
    taken_up.unverified.iter().map(index).collect()
}

/// The maximum of packs in a repository: each fetch creates one, and git searches all of them.
const MOST_PACKS: usize = 20;

/// Merges many packs. Nothing references their objects yet, so all are kept.
pub(super) fn put_together(taken_up: &TakenUp) -> Vec<GitCall> {
    if taken_up.packs <= MOST_PACKS {
        return Vec::new();
    }
    let flags = ["repack", "-a", "-d", "--keep-unreachable", "--quiet"];
    vec![local(&flags)]
}

/// Fetches. A reused repository no longer has references; the server is told of the commits that
/// they pointed to.
pub(super) fn fetch(sources: &Sources, taken_up: Option<&TakenUp>) -> Vec<GitCall> {
    let mut fetch = local(&["fetch", "origin", "--no-recurse-submodules"]);
    let args = &mut fetch.args;
    args.extend(sources.refspecs.iter().cloned());
    if sources.depth > 0 {
        args.extend(["--depth".into(), sources.depth.to_string()]);
    } else if taken_up.is_some_and(|taken_up| taken_up.is_shallow) && !sets_depth(sources) {
        // An earlier job fetched less.
        args.push("--unshallow".into());
    }
    let tips = taken_up.map_or(&[][..], |taken_up| &taken_up.tips);
    args.extend(tips.iter().map(|tip| format!("--negotiation-tip={tip}")));
    args.extend(sources.fetch_flags.iter().cloned());
    vec![fetch]
}

/// Whether the job's own flags set the depth.
fn sets_depth(sources: &Sources) -> bool {
    const FLAGS: [&str; 4] = ["--depth", "--deepen", "--shallow-", "--unshallow"];
    let mut flags = sources.fetch_flags.iter();
    flags.any(|flag| FLAGS.iter().any(|known| flag.starts_with(known)))
}

/// Checks out the commit and removes other files.
///
/// A reused repository has no index. For a protected reference every file is rewritten; otherwise
/// unchanged files are kept with their times, so that build tools see what is up to date.
pub(super) fn checkout(sources: &Sources, taken_up: Option<&TakenUp>) -> Vec<GitCall> {
    if !sources.checkout {
        return taken_up.map_or_else(Vec::new, leave_as_it_was);
    }
    let mut calls = Vec::new();
    if taken_up.is_some() && !sources.protected {
        calls.push(local(&["read-tree", &sources.sha]));
        calls.push(GitCall {
            // It fails if files differ.
            may_fail: true,
            ..local(&["update-index", "-q", "--refresh"])
        });
    }
    let checkout = ["-c", "submodule.recurse=false", "checkout", "-f", "-q"];
    let mut checkout = local(&checkout);
    checkout.args.push(sources.sha.clone());
    calls.push(checkout);
    if !sources.clean_flags.is_empty() {
        let mut clean = local(&["clean"]);
        clean.args.extend(sources.clean_flags.iter().cloned());
        calls.push(clean);
    }
    calls
}

/// Without a checkout, the repository stays at the last job's commit.
fn leave_as_it_was(taken_up: &TakenUp) -> Vec<GitCall> {
    let Some(head) = &taken_up.head else {
        return Vec::new();
    };
    vec![
        local(&["update-ref", "--no-deref", "HEAD", head]),
        local(&["reset", "--quiet"]),
    ]
}

/// The file with git's login, which exists while the job runs.
pub(super) fn login_file(place: &Place) -> String {
    format!("{}/git-login.config", place.temp_dir())
}

/// The file with additional certificate authorities.
pub(super) fn ca_file(place: &Place) -> String {
    format!("{}/git-ca.pem", place.temp_dir())
}

/// The content of [`login_file`]: makes git use the URLs with the password instead of those
/// without.
pub(super) fn login_config(sources: &Sources, place: &Place) -> String {
    let mut text = String::new();
    for login in &sources.logins {
        let _ = writeln!(text, "[url {}]", quoted(&login.with_password));
        for url in &login.instead_of {
            let _ = writeln!(text, "\tinsteadOf = {}", quoted(url));
        }
    }
    if sources.ca_pem.is_some() {
        let _ = writeln!(text, "[http]\n\tsslCAInfo = {}", quoted(&ca_file(place)));
    }
    text
}

/// Settings for every git command, which override all configuration files as if from the command
/// line: the login, also before the repository exists, and none of the hooks and helpers that an
/// earlier job may have left.
pub(super) fn overrides(place: &Place) -> Vec<(&'static str, String)> {
    vec![
        ("include.path", login_file(place)),
        ("safe.directory", "*".into()),
        ("core.hooksPath", "/dev/null".into()),
        ("core.fsmonitor", "false".into()),
        // Replacement refs must not substitute the requested commit.
        ("core.useReplaceRefs", "false".into()),
        ("protocol.ext.allow", "never".into()),
        ("gc.auto", "0".into()),
        // Fetched objects stay in a pack, so that loose objects can only be a job's own.
        ("fetch.unpackLimit", "1".into()),
        ("advice.detachedHead", "false".into()),
    ]
}

/// How many git settings the job's variables contain (`GIT_CONFIG_COUNT`).
pub(super) fn settings_of_job(environment: &[(String, String)]) -> usize {
    let get = |key: &str| {
        let mut all = environment.iter().rev();
        all.find(|(known, _)| known == key).map(|(_, value)| value)
    };
    let count = get("GIT_CONFIG_COUNT").and_then(|count| count.trim().parse().ok());
    let count: usize = count.unwrap_or(0);
    // Up to the first incomplete one, with which git would refuse to run.
    (0..count)
        .take_while(|index| {
            get(&format!("GIT_CONFIG_KEY_{index}")).is_some()
                && get(&format!("GIT_CONFIG_VALUE_{index}")).is_some()
        })
        .count()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
