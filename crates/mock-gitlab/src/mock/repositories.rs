//! What tests set up around repositories: their hash function, who reads them, files of git-lfs.

use super::{Error, MockGitlab, Project, found_project, unknown};
use crate::ids::ProjectId;
use crate::{git, lfs, projects, state};

impl MockGitlab {
    /// Make an empty project `root/<name>` whose repository uses SHA-256.
    ///
    /// # Errors
    ///
    /// If the repository can't be made.
    pub async fn create_sha256_project(&self, name: &str) -> Result<Project, Error> {
        self.new_project(name, git::SHA256).await
    }

    pub(super) async fn new_project(
        &self,
        name: &str,
        object_format: &'static str,
    ) -> Result<Project, Error> {
        let id = projects::create(&self.server, state::ROOT, name, object_format).await?;
        self.project(id)
    }

    /// Let the jobs of another project read this one: its allowlist of job tokens.
    ///
    /// # Errors
    ///
    /// If there is no such project.
    pub fn allow_job_tokens(&self, project: ProjectId, from: ProjectId) -> Result<(), Error> {
        let found = self.server.change(|state| {
            let project = state.projects.get_mut(&project);
            project.map(|project| project.job_token_allowlist.insert(from))
        });
        found_project(found.is_some(), project)
    }

    /// Store a file of git-lfs in a project; returns the pointer that its repository has of it.
    ///
    /// # Errors
    ///
    /// If there is no such project, or the file can't be written.
    pub async fn store_lfs(&self, project: ProjectId, content: &[u8]) -> Result<String, Error> {
        if !self
            .server
            .read(|state| state.projects.contains_key(&project))
        {
            return Err(unknown("project", project));
        }
        lfs::store(&self.server.dir, project, content).await
    }
}
