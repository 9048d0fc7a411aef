//! `RUNNER_GENERATE_ARTIFACTS_METADATA`: a statement beside the artifacts that says which job made
//! them, from which commit, in the form of SLSA's provenance (v1) that GitLab knows.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use onspot_cache::archive::{Attributes, Kind, Tree};
use onspot_gitlab::ansi;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{HelperError, say};

/// What a statement says of the meaning of its parameters.
const BUILD_TYPE: &str = "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/main/PROVENANCE.md";
/// The only version that is written.
const VERSION: &str = "v1";

/// What is known of a job before it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The repository's URL, without credentials and `.git`.
    pub repository: String,
    /// The commit.
    pub sha: String,
    /// The job's id.
    pub job: String,
    /// The job's name.
    pub job_name: String,
    /// The runner's id at GitLab.
    pub runner_id: String,
    /// The runner's name.
    pub runner_name: String,
    /// `docker` or `shell`.
    pub executor: String,
    /// When the job started.
    pub started_at: String,
    /// The names of the job's variables.
    pub variables: Vec<String>,
    /// The version of the statement that the job asks for (`SLSA_PROVENANCE_SCHEMA_VERSION`).
    pub version: Option<String>,
}

/// Writes the statement for these files into the project's folder; returns its path.
pub(super) fn write(
    tree: &Tree,
    statement: &Statement,
    name: &str,
    files: &BTreeSet<PathBuf>,
    now: Timestamp,
) -> Result<PathBuf, HelperError> {
    if let Some(version) = statement.version.as_deref().filter(|v| *v != VERSION) {
        say(&ansi::warning(&format!(
            "Unknown SLSA provenance version {version}, defaulting to {VERSION}"
        )));
    }
    let path = PathBuf::from(format!("{name}-metadata.json"));
    let failed = HelperError::file("write", &path);
    let text = format!("{:#}", render(statement, &subjects(tree, files)?, now));
    let attributes = Attributes {
        mode: 0o644,
        modified: None,
        owner: None,
    };
    tree.write(&path, &attributes, &mut text.as_bytes())
        .map_err(failed)?;
    Ok(path)
}

/// The files with their hashes.
fn subjects(tree: &Tree, files: &BTreeSet<PathBuf>) -> Result<Vec<Value>, HelperError> {
    let mut subjects = Vec::new();
    for path in files {
        if !tree.stat(path).is_ok_and(|stat| stat.kind == Kind::File) {
            continue;
        }
        let mut file = tree.read(path).map_err(HelperError::file("read", path))?;
        let mut hasher = Sha256::new();
        io::copy(&mut file, &mut Hashed(&mut hasher)).map_err(HelperError::file("read", path))?;
        subjects.push(json!({
            "name": path.to_string_lossy(),
            "digest": { "sha256": hex::encode(hasher.finalize()) },
        }));
    }
    Ok(subjects)
}

fn render(statement: &Statement, subjects: &[Value], now: Timestamp) -> Value {
    let empty = Value::String(String::new());
    let names = statement.variables.iter().cloned();
    let mut parameters: Map<String, Value> = names.map(|name| (name, empty.clone())).collect();
    parameters.insert("entryPoint".into(), statement.job_name.clone().into());
    parameters.insert("source".into(), statement.repository.clone().into());
    json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": parameters,
                "internalParameters": {
                    "architecture": onspot_gitlab::architecture(),
                    "executor": statement.executor,
                    "job": statement.job,
                    "name": statement.runner_name,
                },
                "resolvedDependencies": [{
                    "uri": statement.repository,
                    "digest": { "sha256": statement.sha },
                }],
            },
            "runDetails": {
                "builder": {
                    "id": format!("{}/-/runners/{}", statement.repository, statement.runner_id),
                    "version": { "onspot": onspot_gitlab::VERSION },
                },
                "metadata": {
                    "invocationId": statement.job,
                    "startedOn": statement.started_at,
                    "finishedOn": now.to_string(),
                },
            },
        },
    })
}

struct Hashed<'a>(&'a mut Sha256);

impl io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_the_files_and_the_job() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        std::fs::write(dir.path().join("out/made"), "content").unwrap();
        // Whatever lies in its place is replaced, not written through.
        std::fs::write(dir.path().join("victim"), "mine").unwrap();
        std::os::unix::fs::symlink("victim", dir.path().join("name-metadata.json")).unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let statement = Statement {
            repository: "https://gitlab.example/group/project".into(),
            sha: "1ecfd275763eff1d6b4844ea3168962458c9f27a".into(),
            job: "7".into(),
            job_name: "build".into(),
            runner_id: "42".into(),
            runner_name: "spot".into(),
            executor: "docker".into(),
            started_at: "2026-11-16T10:00:00Z".into(),
            variables: vec!["CI".into(), "TOKEN".into()],
            version: Some("v1".into()),
        };
        let files = ["out", "out/made"].map(PathBuf::from).into();
        let now = "2026-11-16T10:05:00Z".parse().unwrap();
        let path = write(&tree, &statement, "name", &files, now).unwrap();
        let text = std::fs::read_to_string(dir.path().join(path)).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["_type"], "https://in-toto.io/Statement/v0.1");
        let hash = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
        let subject = json!([{ "name": "out/made", "digest": { "sha256": hash } }]);
        assert_eq!(read["subject"], subject);
        let built = &read["predicate"]["buildDefinition"];
        let parameters = json!({
            "CI": "",
            "TOKEN": "",
            "entryPoint": "build",
            "source": "https://gitlab.example/group/project",
        });
        assert_eq!(built["externalParameters"], parameters);
        let run = &read["predicate"]["runDetails"];
        let builder = "https://gitlab.example/group/project/-/runners/42";
        assert_eq!(run["builder"]["id"], builder);
        assert_eq!(run["metadata"]["finishedOn"], "2026-11-16T10:05:00Z");
        let victim = std::fs::read_to_string(dir.path().join("victim")).unwrap();
        assert_eq!(victim, "mine");
    }
}
