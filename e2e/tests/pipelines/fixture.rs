//! A fixture: a repository, its project's setup, and the expected results of its pipeline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onspot_mock_gitlab::{Status, Variable};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::repository::Repository;

/// The expected results.
const EXPECT: &str = "expect.json";
/// The project's setup.
const SETUP: &str = "setup.json";

/// A folder of `fixtures/pipelines`.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) setup: Setup,
    pub(crate) expected: Expected,
    folder: PathBuf,
}

/// The setup of a fixture's project.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Setup {
    /// How many commits there are; all contain the same files.
    pub(crate) history: Option<usize>,
    /// The project's own variables.
    variables: BTreeMap<String, Given>,
    /// Files of an earlier push, which created no jobs; null: the file did not exist.
    pub(crate) earlier: Option<BTreeMap<String, Option<String>>>,
    /// Its jobs run one after the other in one slot that no other project uses.
    pub(crate) one_slot: bool,
    /// Lines for `[runners.docker]` of a runner that no other project uses.
    pub(crate) docker: Vec<String>,
    /// Lines of `[[runners]]` of a runner that no other project uses.
    pub(crate) runner: Option<String>,
    /// What is unusual about its repository.
    pub(crate) repository: Repository,
}

impl Setup {
    /// How many jobs its own runner runs at once, if it has one.
    pub(crate) fn own_runner(&self) -> Option<u32> {
        let has_one = self.one_slot || self.runner.is_some() || !self.docker.is_empty();
        has_one.then_some(1)
    }
}

/// A variable in short or full form.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Given {
    Value(String),
    Whole(Flagged),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flagged {
    value: String,
    #[serde(default)]
    masked: bool,
    #[serde(default)]
    file: bool,
    #[serde(default)]
    raw: bool,
}

/// The expected results of a pipeline.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// Rows of the compatibility table, each `area: feature`.
    #[serde(default)]
    pub(crate) covers: Covers,
    /// How it differs from GitLab Runner, if it does.
    pub(crate) differs: Option<String>,
    pub(crate) pipeline: Status,
    /// Part of GitLab's error for a refused configuration.
    pub(crate) yaml_error: Option<String>,
    /// All its jobs, and no others.
    #[serde(default)]
    pub(crate) jobs: BTreeMap<String, ExpectedJob>,
}

/// One row of the compatibility table or several.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Covers {
    #[default]
    Nothing,
    One(String),
    Several(Vec<String>),
}

impl Covers {
    pub(crate) fn rows(&self) -> &[String] {
        match self {
            Self::Nothing => &[],
            Self::One(row) => std::slice::from_ref(row),
            Self::Several(rows) => rows,
        }
    }
}

/// The expected results of a job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedJob {
    pub(crate) status: Status,
    pub(crate) exit_code: Option<i64>,
    pub(crate) failure_reason: Option<String>,
    #[serde(default)]
    pub(crate) trace_contains: Vec<String>,
    #[serde(default)]
    pub(crate) trace_lacks: Vec<String>,
    /// Patterns of the trace as it was sent.
    #[serde(default)]
    pub(crate) raw_trace_matches: Vec<String>,
    /// Patterns that the trace as it was sent does not match.
    #[serde(default)]
    pub(crate) raw_trace_lacks: Vec<String>,
}

impl Fixture {
    /// All fixtures, by name.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let listed = std::fs::read_dir(folder).expect("the fixtures");
        let mut all: Vec<Self> = listed
            .map(|entry| Self::read(entry.expect("a fixture").path()))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn read(folder: PathBuf) -> Self {
        let name = folder.file_name().unwrap_or_default();
        Self {
            name: name.to_string_lossy().into_owned(),
            setup: read(&folder.join(SETUP)).unwrap_or_default(),
            expected: read(&folder.join(EXPECT))
                .unwrap_or_else(|| panic!("{} has no {EXPECT}", folder.display())),
            folder,
        }
    }

    /// The project's own variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = Variable> {
        self.setup.variables.iter().map(|(key, given)| match given {
            Given::Value(value) => Variable::public(key, value),
            Given::Whole(given) => Variable {
                public: !given.masked,
                masked: given.masked,
                file: given.file,
                raw: given.raw,
                ..Variable::public(key, &given.value)
            },
        })
    }

    /// Writes the repository's files.
    pub(crate) fn write(&self, target: &Path) {
        copy(&self.folder, target);
        for own in [EXPECT, SETUP] {
            let _ = std::fs::remove_file(target.join(own));
        }
    }

    /// Writes the files of the earlier push; false if there was none.
    pub(crate) fn write_earlier(&self, target: &Path) -> bool {
        let Some(earlier) = &self.setup.earlier else {
            return false;
        };
        self.write(target);
        for (name, content) in earlier {
            let path = target.join(name);
            match content {
                Some(content) => {
                    let parent = path.parent().expect("a folder");
                    std::fs::create_dir_all(parent).expect("a folder");
                    std::fs::write(&path, content).expect("an earlier file");
                }
                None => std::fs::remove_file(&path).expect("a file that is there now"),
            }
        }
        true
    }
}

/// The content of a JSON file; `None` if it does not exist.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = std::fs::read_to_string(path).ok()?;
    let read = serde_json::from_str(&text);
    Some(read.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("its type");
        if kind.is_dir() {
            copy(&source, &target);
        } else if kind.is_symlink() {
            let link = std::fs::read_link(&source).expect("a link");
            std::os::unix::fs::symlink(link, &target).expect("a link");
        } else {
            std::fs::copy(&source, &target).expect("a file");
        }
    }
}
