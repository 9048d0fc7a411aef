//! The repositories of a fixture: its own, and those of its submodules.

use std::collections::BTreeMap;
use std::path::Path;

use onspot_e2e::chain;
use onspot_mock_gitlab::{MockGitlab, Project, Push};
use serde::Deserialize;

use crate::fixture::Fixture;

/// What a fixture's repository is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Repository {
    /// Its files are pushed as this tag, and not as a branch.
    tag: Option<String>,
    /// It uses SHA-256.
    sha256: bool,
    /// Files of git-lfs with their contents.
    lfs: BTreeMap<String, String>,
    /// Further projects, `<fixture>-<name>`, whose repositories its jobs may read.
    projects: Vec<Library>,
    /// Submodules: the path and the name of one of `projects`.
    submodules: BTreeMap<String, String>,
}

/// A project whose repository is a submodule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Library {
    name: String,
    files: BTreeMap<String, String>,
    /// How many commits there are; all contain the same files.
    #[serde(default = "one")]
    history: usize,
    /// Its own submodules.
    #[serde(default)]
    submodules: BTreeMap<String, String>,
}

fn one() -> usize {
    1
}

impl Repository {
    /// Creates the fixture's project.
    pub(crate) async fn create(&self, gitlab: &MockGitlab, name: &str) -> Project {
        let project = if self.sha256 {
            gitlab.create_sha256_project(name).await
        } else {
            gitlab.create_project(name).await
        };
        project.expect("a project")
    }

    /// Pushes the fixture's files from a folder, as a commit for each message; returns the last one.
    pub(crate) async fn publish(
        &self,
        gitlab: &MockGitlab,
        fixture: &Fixture,
        project: &Project,
        folder: &Path,
        messages: &[&str],
    ) -> String {
        for (name, content) in &self.lfs {
            let pointer = gitlab.store_lfs(project.id, content.as_bytes()).await;
            let path = folder.join(name);
            std::fs::write(path, pointer.expect("a pointer")).expect("a pointer");
        }
        let mut pushed = BTreeMap::new();
        for library in &self.projects {
            let sha = library.publish(gitlab, fixture, project, folder, &pushed);
            pushed.insert(library.name.clone(), sha.await);
        }
        let mut push = Push::new(folder, &project.http_url, &project.token).messages(messages);
        if self.sha256 {
            push = push.sha256();
        }
        if let Some(tag) = &self.tag {
            push = push.tag(tag);
        }
        send(with(push, &self.submodules, &pushed), project).await
    }
}

impl Library {
    async fn publish(
        &self,
        gitlab: &MockGitlab,
        fixture: &Fixture,
        of: &Project,
        beside: &Path,
        pushed: &BTreeMap<String, String>,
    ) -> String {
        let name = format!("{}-{}", fixture.name, self.name);
        let project = gitlab.create_project(&name).await.expect("a project");
        let allowed = gitlab.allow_job_tokens(project.id, of.id);
        allowed.expect("the project");
        let folder = beside.with_extension(&self.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, content) in &self.files {
            std::fs::write(folder.join(name), content).expect("a file");
        }
        let messages = vec!["A library"; self.history];
        let push = Push::new(&folder, &project.http_url, &project.token).messages(&messages);
        send(with(push, &self.submodules, pushed), &project).await
    }
}

fn with<'a>(
    mut push: Push<'a>,
    submodules: &'a BTreeMap<String, String>,
    pushed: &'a BTreeMap<String, String>,
) -> Push<'a> {
    for (path, name) in submodules {
        let commit = pushed.get(name);
        push = push.submodule(path, commit.expect("a project that comes before"));
    }
    push
}

async fn send(push: Push<'_>, project: &Project) -> String {
    let sent = push.send().await;
    sent.unwrap_or_else(|error| panic!("{}: {}", project.path, chain(&error)))
}
