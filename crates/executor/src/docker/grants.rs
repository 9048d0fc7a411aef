//! Which jobs may use an image that already exists on this host.
//!
//! An image pulled with a login is private: its presence on the host is no permission to use it. A
//! job may use it without asking the registry if its own project has pulled it, or a job with the
//! same login. Images pulled without a login may be used by all jobs, and so may images that were
//! never pulled here: the host's owner put them there.
//!
//! The projects are stored in a file, for a restarted agent and for other runners of this host; the
//! logins are only in memory, as hashes with a key of this process.

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

/// The private images and their users.
#[derive(Debug)]
pub(super) struct Grants {
    file: PathBuf,
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The content of the file, and entries that could not be written to it.
    projects: Projects,
    logins: HashMap<String, HashSet<u64>>,
}

impl Grants {
    /// Grants stored in a file, which need not exist.
    pub(super) fn in_file(file: PathBuf) -> Self {
        Self {
            file,
            hasher: RandomState::new(),
            known: Mutex::default(),
        }
    }

    /// Whether a job may use an image that exists here. `project` is its own; `login` the one with
    /// which it would pull it.
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
        // An unreadable file may say that the image is private, so the registry is asked.
        let Some(projects) = known.projects.get(image) else {
            return is_read;
        };
        let hash = login.and_then(|login| self.hash(login));
        let logins = known.logins.get(image);
        project.is_some_and(|project| projects.contains(&project))
            || hash.is_some_and(|hash| logins.is_some_and(|logins| logins.contains(&hash)))
    }

    /// Records that an image was pulled, with this login or without one.
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
        let words = (&login.username, &login.password, &login.identitytoken);
        let words = (words, &login.serveraddress);
        (login.username.is_some() || login.identitytoken.is_some())
            .then(|| self.hasher.hash_one(words))
    }

    fn read(&self) -> std::io::Result<Projects> {
        match std::fs::read(&self.file) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Projects::new()),
            Err(error) => Err(error),
        }
    }

    /// Changes the file atomically, under a lock for other processes.
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
        // An unreadable file is replaced: that is better than remembering nothing from now on.
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
    /// The file's content wins for the images in it; the others are kept in memory.
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
    fn a_private_image_is_for_its_projects_and_logins() {
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
        // The registry now gives it to anybody.
        grants.pulled("sha256:a", Some(3), None);
        assert!(grants.allow("sha256:a", Some(4), None));
    }

    #[test]
    fn a_restarted_agent_and_other_runners_know_the_projects() {
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
    fn an_unreadable_file_makes_no_image_public() {
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
