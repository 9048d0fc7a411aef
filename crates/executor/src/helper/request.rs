//! What the helper is asked for: data, handed over on its standard input.
//!
//! Secrets travel here and nowhere else: never in an argument, never in a container's
//! environment, where `docker inspect` and `/proc` would show them.

use std::fmt;
use std::path::{Path, PathBuf};

use onspot_cache::Selection;
use onspot_cache::archive::{Format, Level};
use onspot_gitlab::job::ArtifactFormat;
use onspot_gitlab::{JobId, JobToken};
use serde::{Deserialize, Serialize};

/// One call of the helper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelperCall {
    /// Where the job's files are.
    pub place: Place,
    /// What to do.
    pub request: HelperRequest,
}

/// Where a job's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The folder of all builds, at one path for the helper and the job (`/builds`). In Docker it
    /// is a mount for both, so that neither can put anything else in its place.
    pub builds: PathBuf,
    /// The project's path below `builds`: `group/project`.
    pub project: String,
    /// Whether other users than the helper's must be able to write to what it makes.
    pub world_writable: bool,
}

impl Place {
    /// The project's folder as the job sees it (`CI_PROJECT_DIR`).
    pub fn project_dir(&self) -> String {
        format!("{}/{}", self.builds.display(), self.project)
    }

    /// The folder for file variables and git's login as the job sees it
    /// (`RUNNER_TEMP_PROJECT_DIR`).
    pub fn temp_dir(&self) -> String {
        format!("{}.tmp", self.project_dir())
    }

    /// The project's path below `builds`.
    pub fn project_path(&self) -> &Path {
        Path::new(&self.project)
    }
}

/// What the helper can do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum HelperRequest {
    /// Nothing: shows that the binary runs here.
    Hello,
    /// Make the folder of all builds ready for this job.
    Claim(Claim),
    /// Check out the repository.
    GetSources(Box<Sources>),
    /// Unpack the first of several caches that exists.
    RestoreCache(RestoreCache),
    /// Unpack the artifacts of earlier jobs.
    DownloadArtifacts(DownloadArtifacts),
    /// Wait until the job's services take connections.
    WaitForServices(WaitForServices),
    /// Give the job's files to the user that its scripts run as.
    GiveAway(GiveAway),
    /// Pack and store a cache.
    SaveCache(SaveCache),
    /// Pack and upload artifacts.
    UploadArtifacts(Box<UploadArtifacts>),
    /// Remove the file variables and git's login.
    CleanUp,
}

impl HelperRequest {
    /// Its name, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Claim(_) => "claim",
            Self::GetSources(_) => "get_sources",
            Self::RestoreCache(_) => "restore_cache",
            Self::DownloadArtifacts(_) => "download_artifacts",
            Self::WaitForServices(_) => "wait_for_services",
            Self::GiveAway(_) => "give_away",
            Self::SaveCache(_) => "archive_cache",
            Self::UploadArtifacts(_) => "upload_artifacts",
            Self::CleanUp => "cleanup_file_variables",
        }
    }
}

/// What the helper answers, as one line on its standard output. All that is for people goes to
/// standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum HelperAnswer {
    /// What was asked for.
    Done,
    /// A cache was looked for.
    Restored {
        /// The key it was found under, if it was.
        key: Option<String>,
    },
    /// An archive was made and stored.
    Stored {
        /// Its size in bytes.
        bytes: u64,
    },
    /// There was nothing to store.
    Nothing,
}

/// Make the folder of all builds ready for this job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Whether what is in it may stay: it is known to be of the same project.
    pub keep: bool,
}

/// Give the job's files to the user that its scripts run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveAway {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

/// `GIT_STRATEGY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A new clone.
    Clone,
    /// What an earlier job left, brought up to date; a new clone where there is nothing.
    Fetch,
    /// No repository; the folder stays as it is.
    None,
    /// No repository; the folder is emptied.
    Empty,
}

/// How a job's repository is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// `GIT_STRATEGY`.
    pub strategy: Strategy,
    /// The repository's URL, without a password.
    pub url: String,
    /// The password for it.
    pub login: Option<Login>,
    /// The branch or tag, for people.
    pub reference: String,
    /// The commit.
    pub sha: String,
    /// Whether `reference` is protected: then nothing that an earlier job could have written to is
    /// taken at its word.
    pub protected: bool,
    /// What to fetch.
    pub refspecs: Vec<String>,
    /// How many commits; 0 means all.
    pub depth: u32,
    /// The repository's hash function, if it is not SHA-1.
    pub object_format: Option<String>,
    /// Whether to check out the commit at all (`GIT_CHECKOUT`).
    pub checkout: bool,
    /// Flags of `git clean`; empty means not to clean.
    pub clean_flags: Vec<String>,
    /// Further flags of `git fetch`.
    pub fetch_flags: Vec<String>,
    /// Submodules, if they are wanted.
    pub submodules: Option<Submodules>,
    /// Further certificate authorities.
    pub ca_pem: Option<String>,
    /// How often fetching is tried.
    pub attempts: u32,
    /// The job's variables.
    pub environment: Vec<(String, String)>,
    /// A script to run before.
    pub before: Option<String>,
    /// A script to run after.
    pub after: Option<String>,
}

/// A password that git puts in when it goes to a host. Written to a file beside the project for
/// as long as the job runs, never into the repository's own configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// What the URLs begin with: `https://gitlab.example/`.
    pub plain: String,
    /// What they begin with instead: `https://gitlab-ci-token:…@gitlab.example/`.
    pub with_password: String,
    /// The host's name, for submodules that are meant to go by SSH.
    pub host: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

/// `GIT_SUBMODULE_…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submodules {
    /// Whether submodules of submodules count.
    pub recursive: bool,
    /// How many commits; 0 means all.
    pub depth: u32,
    /// Which ones; empty means all.
    pub paths: Vec<String>,
    /// Further flags of `git submodule update`.
    pub update_flags: Vec<String>,
    /// Whether SSH URLs of GitLab's host are fetched by HTTPS with the job's login.
    pub force_https: bool,
}

/// Where an archive is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// Behind a presigned URL: whoever has it, has the object.
    Url(String),
    /// In a file of the helper's own.
    File(PathBuf),
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("Url([hidden])"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A cache to look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its key, for people.
    pub key: String,
    /// Where it would be.
    pub from: Location,
}

/// Unpack the first of several caches that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreCache {
    /// In this order.
    pub candidates: Vec<Candidate>,
    /// How often each is tried.
    pub attempts: u32,
}

/// Pack and store a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveCache {
    /// Its key, for people.
    pub key: String,
    /// What belongs to it.
    pub selection: Selection,
    /// How it is packed.
    pub format: Format,
    /// How hard.
    pub level: Level,
    /// Where it goes.
    pub to: Location,
    /// The most bytes that the archive may have; a larger one is not kept.
    #[serde(default)]
    pub most_bytes: Option<u64>,
}

/// The artifacts of an earlier job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// That job.
    pub job: JobId,
    /// Its name, for people.
    pub name: String,
    /// Opens its artifacts.
    pub token: JobToken,
}

/// Unpack the artifacts of earlier jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownloadArtifacts {
    /// GitLab's base URL.
    pub gitlab: String,
    /// Further certificate authorities.
    pub ca_pem: Option<String>,
    /// How often each is tried.
    pub attempts: u32,
    /// Whether the first try may go straight to GitLab's object storage
    /// (`FF_USE_DIRECT_DOWNLOAD`).
    pub direct: bool,
    /// Which ones.
    pub downloads: Vec<Download>,
}

/// Pack and upload artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadArtifacts {
    /// GitLab's base URL.
    pub gitlab: String,
    /// Further certificate authorities.
    pub ca_pem: Option<String>,
    /// The job.
    pub job: JobId,
    /// Its token.
    pub token: JobToken,
    /// The artifact's name, without the ending that its format adds.
    pub name: String,
    /// `archive`, or a kind of report.
    pub kind: String,
    /// How the files are packed.
    pub format: ArtifactFormat,
    /// How long GitLab keeps it; empty means its default.
    pub expire_in: String,
    /// How hard to compress.
    pub level: Level,
    /// What belongs to it.
    pub selection: Selection,
}

/// Wait until the job's services take connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitForServices {
    /// How long, in seconds.
    pub seconds: u64,
    /// Name (for people), address and ports of each. One that opens any of its ports is up.
    pub services: Vec<ServiceAddress>,
}

/// A service and where it should answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAddress {
    /// Its image, for people.
    pub name: String,
    /// Its IP address.
    pub address: String,
    /// Its exposed TCP ports.
    pub ports: Vec<u16>,
}
