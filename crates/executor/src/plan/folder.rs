//! The project's folder below the folder of all builds.

use std::path::{Component, Path, PathBuf};

use super::Site;
use super::choices::Choices;
use crate::error::Error;
use crate::helper::request::Strategy;
use crate::settings::RunnerSettings;

/// By which a job chooses its folder.
const VARIABLE: &str = "GIT_CLONE_PATH";

/// Works out the folder: the one that the job chooses, or the usual one. Without a repository it
/// has another name, as in GitLab Runner, so that what is kept of the repository stays.
pub(super) fn of_project(
    usual: &str,
    settings: &RunnerSettings,
    site: &Site<'_>,
    choices: &Choices<'_>,
    strategy: Strategy,
) -> Result<String, Error> {
    let Some(chosen) = choices.text(VARIABLE) else {
        return Ok(match strategy {
            Strategy::Empty => format!("{usual}-empty"),
            Strategy::Clone | Strategy::Fetch | Strategy::None => usual.to_owned(),
        });
    };
    let is_allowed = settings.runner.custom_build_dir;
    if !is_allowed.unwrap_or(site.executor == "docker") {
        return Err(Error::Unsupported(format!(
            "the job sets {VARIABLE}, which this runner does not allow; its owner can, with \
             `enabled = true` in [runners.custom_build_dir]"
        )));
    }
    below(Path::new(site.builds_dir), Path::new(chosen)).ok_or_else(|| {
        Error::Unsupported(format!(
            "{VARIABLE} is {chosen:?}; it has to be a folder below {:?} ($CI_BUILDS_DIR)",
            site.builds_dir
        ))
    })
}

/// The rest of an absolute path below a folder, if it is below it.
fn below(folder: &Path, path: &Path) -> Option<String> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) | Component::Normal(_) => clean.push(part),
        }
    }
    let rest = clean.strip_prefix(folder).ok()?.to_str()?;
    let sound = !rest.is_empty() && !rest.contains(['\0', '\n']);
    sound.then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_below_another_one_or_it_is_not() {
        let rest = |path: &str| below(Path::new("/builds"), Path::new(path));
        assert_eq!(rest("/builds/go/src//x/"), Some("go/src/x".into()));
        assert_eq!(rest("/builds/a/../b/./c"), Some("b/c".into()));
        assert_eq!(rest("/builds/..x"), Some("..x".into()));
        for outside in [
            "/builds",
            "/builds/",
            "/builds/../etc",
            "/buildsx",
            "x",
            "../x",
            "/",
        ] {
            assert_eq!(rest(outside), None, "{outside}");
        }
    }
}
