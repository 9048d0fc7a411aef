//! Which jobs may use an image that is on this host already.
//!
//! An image that was pulled with a login is private: that it is here is no permission to use it. A
//! job gets it without asking the registry if its own project has pulled it, or one with the same
//! login. What was pulled without any login is anybody's, and so is what nobody here has pulled:
//! the host's owner put it there.
//!
//! The projects are kept in a file, for an agent that starts anew and for other runners of this
//! host; the logins only in memory, and only as hashes of this process's own.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bollard::auth::DockerCredentials;
use rustix::fs::{FlockOperation, flock};

/// The projects that have pulled each private image, by the image's id.
type Projects = BTreeMap<String, BTreeSet<u64>>;

/// What is known of private images.
#[derive(Debug)]
pub(super) struct Grants {
    file: PathBuf,
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// As it is in the file, and what could not be written there.
    projects: Projects,
    logins: HashMap<String, HashSet<u64>>,
}

impl Grants {
    /// Those in a file, which need not be there.
    pub(super) fn in_file(file: PathBuf) -> Self {
        Self {
            file,
            hasher: RandomState::new(),
            known: Mutex::default(),
        }
    }

    /// Whether a job may use an image that is here. `project` is its own; `login` the one it would
    /// pull it with.
    pub(super) fn allow(
        &self,
        image: &str,
        project: Option<u64>,
        login: Option<&DockerCredentials>,
    ) -> bool {
        let mut known = self.known();
        let is_read = match self.read() {
            Ok(projects) => {
                known.merge(projects);
                true
            }
            Err(error) => {
                self.complain("read", &error);
                false
            }
        };
        // What can't be read may say that the image is private: the registry is to be asked then.
        let Some(projects) = known.projects.get(image) else {
            return is_read;
        };
        let hash = login.and_then(|login| self.hash(login));
        let logins = known.logins.get(image);
        project.is_some_and(|project| projects.contains(&project))
            || hash.is_some_and(|hash| logins.is_some_and(|logins| logins.contains(&hash)))
    }

    /// An image was pulled, with this login or without any.
    pub(super) fn pulled(
        &self,
        image: &str,
        project: Option<u64>,
        login: Option<&DockerCredentials>,
    ) {
        let mut known = self.known();
        if let Some(hash) = login.and_then(|login| self.hash(login)) {
            let logins = known.logins.entry(image.to_owned()).or_default();
            logins.insert(hash);
        } else {
            known.logins.remove(image);
        }
        let is_private = login.is_some();
        let change = |projects: &mut Projects| {
            if is_private {
                projects
                    .entry(image.to_owned())
                    .or_default()
                    .extend(project);
            } else {
                projects.remove(image);
            }
        };
        change(&mut known.projects);
        if let Err(error) = self.write(change) {
            self.complain("write", &error);
        }
    }

    fn known(&self) -> parking_lot::MutexGuard<'_, Known> {
        self.known.lock()
    }

    fn hash(&self, login: &DockerCredentials) -> Option<u64> {
        let username = login.username.as_deref()?;
        let words = (username, &login.password, &login.serveraddress);
        Some(self.hasher.hash_one(words))
    }

    fn read(&self) -> std::io::Result<Projects> {
        match std::fs::read(&self.file) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Projects::new()),
            Err(error) => Err(error),
        }
    }

    /// Changes the file, as a whole or not at all; other processes wait meanwhile.
    fn write(&self, change: impl FnOnce(&mut Projects)) -> std::io::Result<()> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let create = |path: &Path| {
            let mut options = File::options();
            options.create(true).truncate(true).write(true).mode(0o600);
            options.open(path)
        };
        let lock = create(&self.file.with_extension("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        // One that can't be read any more is begun anew: better than never to remember anything.
        let before = self.read();
        let mut projects = before.as_ref().cloned().unwrap_or_default();
        change(&mut projects);
        if before.is_ok_and(|before| before == projects) {
            return Ok(());
        }
        let new = self.file.with_extension("new");
        let mut file = create(&new)?;
        file.write_all(&serde_json::to_vec(&projects)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.file)
    }

    fn complain(&self, action: &str, error: &std::io::Error) {
        let file: &Path = &self.file;
        tracing::warn!(file = %file.display(), %error,
            "can't {action} who pulled which private image");
    }
}

impl Known {
    /// What the file holds is true for what it names; the rest could not be written there.
    fn merge(&mut self, projects: Projects) {
        for (image, of_file) in projects {
            self.projects.entry(image).or_default().extend(of_file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(password: &str) -> DockerCredentials {
        DockerCredentials {
            username: Some("ci".into()),
            password: Some(password.into()),
            ..DockerCredentials::default()
        }
    }

    #[test]
    fn a_private_image_is_its_projects_and_its_logins() {
        let dir = tempfile::tempdir().unwrap();
        let grants = Grants::in_file(dir.path().join("below/images.json"));
        assert!(grants.allow("sha256:own", Some(1), None), "the host's own");
        grants.pulled("sha256:a", Some(1), Some(&login("token")));
        assert!(grants.allow("sha256:a", Some(1), None));
        assert!(!grants.allow("sha256:a", Some(2), None));
        assert!(!grants.allow("sha256:a", None, None));
        assert!(grants.allow("sha256:a", Some(2), Some(&login("token"))));
        assert!(!grants.allow("sha256:a", Some(2), Some(&login("other"))));
        grants.pulled("sha256:a", Some(2), Some(&login("other")));
        assert!(grants.allow("sha256:a", Some(2), None));
        // The registry gives it to anybody now.
        grants.pulled("sha256:a", Some(3), None);
        assert!(grants.allow("sha256:a", Some(4), None));
    }

    #[test]
    fn an_agent_that_starts_anew_and_other_runners_know_it_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("images.json");
        let (first, other) = (Grants::in_file(file.clone()), Grants::in_file(file.clone()));
        assert!(other.allow("sha256:a", Some(2), None));
        first.pulled("sha256:a", Some(1), Some(&login("token")));
        for grants in [&other, &Grants::in_file(file.clone())] {
            assert!(grants.allow("sha256:a", Some(1), None));
            assert!(!grants.allow("sha256:a", Some(2), None));
        }
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text, r#"{"sha256:a":[1]}"#, "no login in it");
    }

    #[test]
    fn without_a_file_it_is_remembered_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let grants = Grants::in_file(dir.path().join("file/images.json"));
        grants.pulled("sha256:a", Some(1), Some(&login("token")));
        assert!(grants.allow("sha256:a", Some(1), None));
        assert!(!grants.allow("sha256:a", Some(2), None));
    }

    #[test]
    fn what_cannot_be_read_makes_no_image_public() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("images.json");
        let first = Grants::in_file(file.clone());
        first.pulled("sha256:a", Some(1), Some(&login("token")));
        for torn in ["", "{\"sha256:a\":["] {
            std::fs::write(&file, torn).unwrap();
            let anew = Grants::in_file(file.clone());
            assert!(!anew.allow("sha256:a", Some(2), None), "{torn:?}");
            assert!(first.allow("sha256:a", Some(1), None), "it remembers");
        }
        first.pulled("sha256:b", Some(1), Some(&login("token")));
        assert!(
            Grants::in_file(file).allow("sha256:c", Some(2), None),
            "begun anew"
        );
    }
}
