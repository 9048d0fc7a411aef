//! What the containers of a job mount besides its builds: `volumes` of the settings.

use onspot_gitlab::Variables;
use onspot_settings::Docker;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// How much of a path's hash tells two paths apart.
const HASH: usize = 16;

/// Whose jobs find in a volume what an earlier one left there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeper<'a> {
    /// The runner, as the name of a folder.
    pub(crate) runner: &'a str,
    /// One job at a time.
    pub(crate) slot: usize,
    /// The project.
    pub(crate) project: u64,
    /// Whether its branch or tag is protected: what a job of any branch may write, one of a
    /// protected branch must not find.
    pub(crate) protected: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mount {
    /// Of a source that the settings name, as the engine takes it.
    Given(String),
    /// Of a volume of this name, which is kept for the keeper's next job.
    Kept {
        /// The volume.
        name: String,
        /// The path in the containers.
        target: String,
    },
    /// Of a new volume, which ends with the job.
    Fresh {
        /// The path in the containers.
        target: String,
    },
}

impl Keeper<'_> {
    /// Its folder or the beginning of its volumes' names, and a path's own part.
    fn names(&self, target: &str) -> (String, String) {
        let hash = hex::encode(Sha256::digest(target));
        let protected = if self.protected { "-protected" } else { "" };
        (
            format!(
                "{}-slot-{}-project-{}",
                self.runner, self.slot, self.project
            ),
            format!("{}{protected}", &hash[..HASH]),
        )
    }
}

/// The mounts of a job and its services. Variables count in the paths in the containers, and only
/// there: a job has no say in what of the host is mounted.
pub(crate) fn of_job(
    settings: &Docker,
    variables: &Variables,
    keeper: &Keeper<'_>,
    builds: &str,
) -> Result<Vec<Mount>, Error> {
    let mut mounts = Vec::new();
    for volume in &settings.volumes {
        let mut parts = volume.splitn(3, ':');
        let (Some(first), target, options) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Some(target) = target else {
            let target = expanded(first, variables)?;
            // The builds are mounted already, and kept.
            if target != builds {
                mounts.push(bare(settings, keeper, target));
            }
            continue;
        };
        let target = expanded(target, variables)?;
        let options = options.map_or_else(String::new, |options| format!(":{options}"));
        mounts.push(Mount::Given(format!("{first}:{target}{options}")));
    }
    Ok(mounts)
}

/// A path without a source.
fn bare(settings: &Docker, keeper: &Keeper<'_>, target: String) -> Mount {
    let (place, own) = keeper.names(&target);
    let folder = settings.cache_dir.as_deref();
    match folder.filter(|folder| !folder.is_empty()) {
        _ if settings.disable_cache => Mount::Fresh { target },
        Some(folder) => {
            let folder = folder.trim_end_matches('/');
            Mount::Given(format!("{folder}/{place}/{own}:{target}"))
        }
        None => Mount::Kept {
            name: format!("onspot-cache-{place}-{own}"),
            target,
        },
    }
}

/// A path in the containers. What a variable holds must not become a source or options.
fn expanded(path: &str, variables: &Variables) -> Result<String, Error> {
    let expanded = variables.expand(path);
    let parts = expanded.split('/').filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.collect();
    let is_sound = expanded.starts_with('/')
        && !parts.is_empty()
        && !expanded.contains([':', '\0', '\n'])
        && parts.iter().all(|part| !matches!(*part, "." | ".."));
    if is_sound {
        return Ok(format!("/{}", parts.join("/")));
    }
    Err(Error::NotAllowed(format!(
        "the runner's volume at {path} would be at {expanded:?}, which is no path of a container"
    )))
}

#[cfg(test)]
mod tests {
    use onspot_gitlab::Variable;

    use super::*;

    const KEEPER: Keeper<'static> = Keeper {
        runner: "runner",
        slot: 2,
        project: 7,
        protected: false,
    };

    fn mounts(settings: &Docker, keeper: &Keeper<'_>) -> Result<Vec<Mount>, Error> {
        let variables = Variables::resolve([
            Variable::public("TOOL", "maven"),
            Variable::public("EVIL", "x:/etc"),
            Variable::public("UP", "../.."),
        ]);
        of_job(settings, &variables, keeper, "/builds")
    }

    fn with(volumes: &[&str]) -> Docker {
        Docker {
            volumes: volumes.iter().map(|&volume| volume.to_owned()).collect(),
            ..Docker::default()
        }
    }

    #[test]
    fn a_bare_path_is_kept_for_one_project_and_protectedness_in_one_slot() {
        let settings = with(&["/cache", "/builds/"]);
        let name = |keeper: Keeper<'_>| match mounts(&settings, &keeper).unwrap().as_slice() {
            [Mount::Kept { name, target }] => {
                assert_eq!(target, "/cache");
                name.clone()
            }
            other => panic!("{other:?}"),
        };
        let own = name(KEEPER);
        assert!(
            own.starts_with("onspot-cache-runner-slot-2-project-7-"),
            "{own}"
        );
        assert_eq!(name(KEEPER), own);
        let others = [
            Keeper { slot: 3, ..KEEPER },
            Keeper {
                project: 8,
                ..KEEPER
            },
            Keeper {
                protected: true,
                ..KEEPER
            },
            Keeper {
                runner: "other",
                ..KEEPER
            },
        ];
        for other in others {
            assert_ne!(name(other), own, "{other:?}");
        }
    }

    #[test]
    fn without_a_cache_volumes_end_with_the_job_and_a_folder_replaces_them() {
        let mut settings = with(&["/cache"]);
        settings.cache_dir = Some("/mnt/caches/".into());
        let kept = mounts(&settings, &KEEPER).unwrap();
        let [Mount::Given(mount)] = kept.as_slice() else {
            panic!("{kept:?}");
        };
        let place = "/mnt/caches/runner-slot-2-project-7/";
        assert!(
            mount.starts_with(place) && mount.ends_with(":/cache"),
            "{mount}"
        );
        settings.disable_cache = true;
        let target = "/cache".to_owned();
        assert_eq!(
            mounts(&settings, &KEEPER).unwrap(),
            [Mount::Fresh { target }]
        );
    }

    #[test]
    fn variables_count_in_the_containers_path_and_cannot_change_the_source() {
        let given = |text: &str| Mount::Given(text.to_owned());
        let settings = with(&["/host/$TOOL:/opt/$TOOL:ro", "tools:/tools"]);
        assert_eq!(
            mounts(&settings, &KEEPER).unwrap(),
            [given("/host/$TOOL:/opt/maven:ro"), given("tools:/tools")]
        );
        for wrong in ["/a:/b/$EVIL", "/a:/b/$UP", "/$UNSET", "/a:/$UNSET"] {
            let refused = mounts(&with(&[wrong]), &KEEPER).unwrap_err();
            assert!(refused.to_string().contains("no path of a"), "{refused}");
        }
    }
}
