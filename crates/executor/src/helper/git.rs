//! The calls of git that make a working tree: pure, from the request alone.

use std::fmt::Write;

use super::request::{Login, Place, Sources, Submodules};
use super::taken_up::TakenUp;

/// One call of git in the project's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitCall {
    /// The arguments, `git` itself left out.
    pub(super) args: Vec<String>,
    /// Whether it is worth another try: it talks to a server.
    pub(super) remote: bool,
    /// Whether the job goes on when it fails: its exit code says something else.
    pub(super) may_fail: bool,
}

fn local(args: &[&str]) -> GitCall {
    GitCall {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        remote: false,
        may_fail: false,
    }
}

/// Makes the repository, or takes up one whose configuration was removed.
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
        // The login is found by the job's own git commands while the job runs, and by nobody
        // afterwards: the file is gone then.
        local(&["config", "include.path", &login_file(place)]),
    ]
}

/// Gives every object of a repository that is taken up its name anew, from its content: the old
/// index of a pack could lead from one object's name to another's content.
pub(super) fn verify(taken_up: &TakenUp) -> Vec<GitCall> {
    let index = |pack: &String| local(&["index-pack", &format!(".git/objects/pack/{pack}")]);
    taken_up.unverified.iter().map(index).collect()
}

/// In how many packs a repository may be: each fetch makes one, and git looks through all of them.
const MOST_PACKS: usize = 20;

/// Puts many packs together. Nothing leads to their objects, so all of them are kept.
pub(super) fn put_together(taken_up: &TakenUp) -> Vec<GitCall> {
    if taken_up.packs <= MOST_PACKS {
        return Vec::new();
    }
    let flags = ["repack", "-a", "-d", "--keep-unreachable", "--quiet"];
    vec![local(&flags)]
}

/// Fetches. A repository that is taken up has no references any more: what it has is told to the
/// server by the commits that they led to.
pub(super) fn fetch(sources: &Sources, taken_up: Option<&TakenUp>) -> Vec<GitCall> {
    let mut fetch = GitCall {
        remote: true,
        ..local(&["fetch", "origin"])
    };
    let args = &mut fetch.args;
    args.extend(sources.refspecs.iter().cloned());
    if sources.depth > 0 {
        args.extend(["--depth".into(), sources.depth.to_string()]);
    } else if taken_up.is_some_and(|taken_up| taken_up.is_shallow) && !sets_depth(sources) {
        // An earlier job asked for less.
        args.push("--unshallow".into());
    }
    let tips = taken_up.map_or(&[][..], |taken_up| &taken_up.tips);
    args.extend(tips.iter().map(|tip| format!("--negotiation-tip={tip}")));
    args.extend(sources.fetch_flags.iter().cloned());
    vec![fetch]
}

/// Whether the job's own flags say how much of the history is wanted.
fn sets_depth(sources: &Sources) -> bool {
    const FLAGS: [&str; 4] = ["--depth", "--deepen", "--shallow-", "--unshallow"];
    let mut flags = sources.fetch_flags.iter();
    flags.any(|flag| FLAGS.iter().any(|known| flag.starts_with(known)))
}

/// Checks the commit out and removes what does not belong to it.
///
/// The index of a repository that is taken up is gone. For a protected reference every file is
/// written anew; otherwise those that are as they should be stay, with their times, by which build
/// tools know what is up to date.
pub(super) fn checkout(sources: &Sources, taken_up: Option<&TakenUp>) -> Vec<GitCall> {
    if !sources.checkout {
        return taken_up.map_or_else(Vec::new, leave_as_it_was);
    }
    let mut calls = Vec::new();
    if taken_up.is_some() && !sources.protected {
        calls.push(local(&["read-tree", &sources.sha]));
        calls.push(GitCall {
            // It fails where files differ.
            may_fail: true,
            ..local(&["update-index", "-q", "--refresh"])
        });
    }
    calls.push(GitCall {
        // Talks to the server when git-lfs fetches its files.
        remote: true,
        ..local(&[
            "-c",
            "submodule.recurse=false",
            "checkout",
            "-f",
            "-q",
            &sources.sha,
        ])
    });
    if !sources.clean_flags.is_empty() {
        let mut clean = local(&["clean"]);
        clean.args.extend(sources.clean_flags.iter().cloned());
        calls.push(clean);
    }
    calls
}

/// Without a checkout, the repository stays at the commit where the last job left it.
fn leave_as_it_was(taken_up: &TakenUp) -> Vec<GitCall> {
    let Some(head) = &taken_up.head else {
        return Vec::new();
    };
    vec![
        local(&["update-ref", "--no-deref", "HEAD", head]),
        local(&["reset", "--quiet"]),
    ]
}

/// Brings the submodules to what the commit says.
pub(super) fn submodules(submodules: &Submodules, place: &Place) -> Vec<GitCall> {
    let recursive = if submodules.recursive {
        &["--recursive"][..]
    } else {
        &[]
    };
    let with = |args: &[&str]| {
        let mut call = local(args);
        call.args
            .extend(recursive.iter().map(|&flag| flag.to_owned()));
        call
    };
    let paths = |mut call: GitCall| {
        if !submodules.paths.is_empty() {
            call.args.push("--".into());
            call.args.extend(submodules.paths.iter().cloned());
        }
        call
    };
    let mut update = with(&["submodule", "update", "--init"]);
    update.remote = true;
    if submodules.depth > 0 {
        update
            .args
            .extend(["--depth".into(), submodules.depth.to_string()]);
    }
    update.args.extend(submodules.update_flags.iter().cloned());
    let each = |command: String| {
        let mut call = with(&["submodule", "foreach", "--quiet"]);
        call.args.push(command);
        call
    };
    vec![
        paths(local(&["submodule", "init"])),
        paths(with(&["submodule", "sync"])),
        paths(update),
        each("git clean -ffdxq".into()),
        each("git reset --hard --quiet".into()),
        each(format!(
            "git config include.path '{}'",
            login_file(place).replace('\'', r"'\''")
        )),
    ]
}

/// Where git's login is, for as long as the job runs.
pub(super) fn login_file(place: &Place) -> String {
    format!("{}/git-login.config", place.temp_dir())
}

/// Where further certificate authorities are.
pub(super) fn ca_file(place: &Place) -> String {
    format!("{}/git-ca.pem", place.temp_dir())
}

/// The content of [`login_file`]: git goes to the URLs with the password where it is told to go to
/// those without.
pub(super) fn login_config(login: Option<&Login>, sources: &Sources, place: &Place) -> String {
    let mut text = String::new();
    if let Some(login) = login {
        let _ = writeln!(text, "[url {}]", quoted(&login.with_password));
        let _ = writeln!(text, "\tinsteadOf = {}", quoted(&login.plain));
        if sources
            .submodules
            .as_ref()
            .is_some_and(|submodules| submodules.force_https)
        {
            for ssh in [
                format!("git@{}:", login.host),
                format!("ssh://git@{}/", login.host),
            ] {
                let _ = writeln!(text, "\tinsteadOf = {}", quoted(&ssh));
            }
        }
    }
    if sources.ca_pem.is_some() {
        let _ = writeln!(text, "[http]\n\tsslCAInfo = {}", quoted(&ca_file(place)));
    }
    text
}

/// What every call of git gets as if from its command line, over all configuration files: the
/// login also where the repository is not made yet, and none of the hooks and helpers that an
/// earlier job may have left.
pub(super) fn overrides(place: &Place) -> Vec<(&'static str, String)> {
    vec![
        ("include.path", login_file(place)),
        ("safe.directory", "*".into()),
        ("core.hooksPath", "/dev/null".into()),
        ("core.fsmonitor", "false".into()),
        // Nor another commit in the place of the one that is wanted.
        ("core.useReplaceRefs", "false".into()),
        ("protocol.ext.allow", "never".into()),
        ("gc.auto", "0".into()),
        // What is fetched stays a pack: loose objects are a job's own.
        ("fetch.unpackLimit", "1".into()),
        ("advice.detachedHead", "false".into()),
    ]
}

/// How many settings the job's variables give git (`GIT_CONFIG_COUNT`).
pub(super) fn settings_of_job(environment: &[(String, String)]) -> usize {
    let get = |key: &str| {
        let mut all = environment.iter().rev();
        all.find(|(known, _)| known == key).map(|(_, value)| value)
    };
    let count = get("GIT_CONFIG_COUNT").and_then(|count| count.trim().parse().ok());
    let count: usize = count.unwrap_or(0);
    // Up to the first that is not whole: git itself would refuse to run.
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
