//! Requests to the helper: data passed on its standard input.
//!
//! Secrets are passed only here: never in an argument, never in a container's environment, where
//! `docker inspect` and `/proc` would show them.

use std::fmt;
use std::path::{Path, PathBuf};

use onspot_cache::Selection;
use onspot_cache::archive::{Format, Level};
use onspot_gitlab::job::ArtifactFormat;
use onspot_gitlab::{JobId, JobToken};
use serde::{Deserialize, Serialize};

use super::statement::Statement;

/// A call of the helper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelperCall {
    /// Where the job's files are.
    pub place: Place,
    /// The request.
    pub request: HelperRequest,
}

/// Where a job's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The folder of all builds, at one path for the helper and the job (`/builds`). In Docker it
    /// is a mount for both, so that neither can replace it.
    pub builds: PathBuf,
    /// The project's path below `builds`: `group/project`.
    pub project: String,
    /// Whether other users than the helper's must be able to write to the files that it creates.
    pub world_writable: bool,
}

impl Place {
    /// The project's folder in the job (`CI_PROJECT_DIR`).
    pub fn project_dir(&self) -> String {
        format!("{}/{}", self.builds.display(), self.project)
    }

    /// The folder for file variables and git's login in the job (`RUNNER_TEMP_PROJECT_DIR`).
    pub fn temp_dir(&self) -> String {
        format!("{}.tmp", self.project_dir())
    }

    /// The project's path below `builds`.
    pub fn project_path(&self) -> &Path {
        Path::new(&self.project)
    }
}

/// A request to the helper.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum HelperRequest {
    /// Do nothing: shows that the binary runs here.
    Hello,
    /// Prepare the folder of all builds for this job.
    Claim(Claim),
    /// Check out the repository.
    GetSources(Box<Sources>),
    /// Unpack the first existing one of several caches.
    RestoreCache(RestoreCache),
    /// Unpack the artifacts of earlier jobs.
    DownloadArtifacts(DownloadArtifacts),
    /// Wait until the job's services take connections.
    WaitForServices(WaitForServices),
    /// Change the owner of the job's files to the user of its scripts.
    GiveAway(GiveAway),
    /// Pack and store a cache.
    SaveCache(SaveCache),
    /// Pack and upload artifacts.
    UploadArtifacts(Box<UploadArtifacts>),
    /// Upload a packed cache in parts.
    UploadParts(UploadParts),
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
            Self::UploadParts(_) => "upload_parts",
            Self::CleanUp => "cleanup_file_variables",
        }
    }
}

/// The helper's answer, as one line on its standard output. Text for people goes to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum HelperAnswer {
    /// The request was processed.
    Done,
    /// A cache was restored or not found.
    Restored {
        /// The key under which it was found, if any.
        key: Option<String>,
        /// The fingerprint of the unpacked files, if they are all files of the cache and are stored
        /// under its own key.
        #[serde(default)]
        fingerprint: Option<String>,
    },
    /// An archive was made and stored.
    Stored {
        /// Its size in bytes.
        bytes: u64,
    },
    /// There was nothing to store.
    Nothing,
    /// An archive was made and kept: it is too large for one PUT.
    TooLargeForOnePut {
        /// Its size in bytes.
        bytes: u64,
        /// Its file.
        file: PathBuf,
    },
    /// The parts of an archive were uploaded.
    Parts {
        /// Their `ETag`s, in order.
        etags: Vec<String>,
    },
}

/// Prepare the folder of all builds for this job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Whether its contents may stay, because they are known to belong to the same project.
    pub keep: bool,
}

/// Change the owner of the job's files to the user of its scripts.
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
    /// An earlier job's repository, updated; a new clone if there is none.
    Fetch,
    /// No repository; the folder is not changed.
    None,
    /// No repository; the folder is emptied.
    Empty,
}

impl Strategy {
    /// Whether the job gets a repository.
    pub fn has_repository(self) -> bool {
        matches!(self, Self::Clone | Self::Fetch)
    }
}

/// How to get a job's repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// `GIT_STRATEGY`.
    pub strategy: Strategy,
    /// The repository's URL, without a password.
    pub url: String,
    /// The passwords for it and for its submodules.
    pub logins: Vec<Login>,
    /// The branch or tag, for messages.
    pub reference: String,
    /// The commit.
    pub sha: String,
    /// Whether `reference` is protected: then nothing that an earlier job could have written is
    /// trusted.
    pub protected: bool,
    /// What to fetch.
    pub refspecs: Vec<String>,
    /// How many commits; 0 means all.
    pub depth: u32,
    /// The repository's hash function, if it is not SHA-1.
    pub object_format: Option<String>,
    /// Whether to check out the commit at all (`GIT_CHECKOUT`).
    pub checkout: bool,
    /// Whether to fetch the files of git-lfs; otherwise their pointers stay
    /// (`GIT_LFS_SKIP_SMUDGE`).
    pub lfs: bool,
    /// Flags of `git clean`; empty means not to clean.
    pub clean_flags: Vec<String>,
    /// Further flags of `git fetch`.
    pub fetch_flags: Vec<String>,
    /// Further flags of `git clone`, if that gets the repository instead of `git fetch`.
    pub clone_flags: Option<Vec<String>>,
    /// Submodules, if they are wanted.
    pub submodules: Option<Submodules>,
    /// Further certificate authorities.
    pub ca_pem: Option<String>,
    /// How often getting them is tried, hooks included.
    pub attempts: u32,
    /// The job's variables.
    pub environment: Vec<(String, String)>,
    /// A script to run before.
    pub before: Option<String>,
    /// A script to run after.
    pub after: Option<String>,
}

/// A password for git on a host. It is written to a file next to the project while the job runs,
/// never into the repository's configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The prefix of URLs with the password: `https://gitlab-ci-token:…@gitlab.example/`.
    pub with_password: String,
    /// The prefixes that it replaces: `https://gitlab.example/`.
    pub instead_of: Vec<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("instead_of", &self.instead_of)
            .finish_non_exhaustive()
    }
}

/// `GIT_SUBMODULE_…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submodules {
    /// Whether submodules of submodules are included.
    pub recursive: bool,
    /// How many commits; 0 means all.
    pub depth: u32,
    /// Their paths; empty means all.
    pub paths: Vec<String>,
    /// Further flags of `git submodule update`.
    pub update_flags: Vec<String>,
}

impl Submodules {
    /// Whether they are checked out at their branches' ends instead of the commit's versions.
    pub fn follows_branches(&self) -> bool {
        let mut flags = self.update_flags.iter();
        flags.any(|flag| flag == "--remote")
    }
}

/// The location of an archive.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// A presigned URL, which gives access to the object.
    Url(String),
    /// A file of the helper's own.
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

/// A cache to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its key, for messages.
    pub key: String,
    /// Its location.
    pub from: Location,
    /// Its location with `FF_HASH_CACHE_KEYS` the other way round; the newer one is used.
    #[serde(default)]
    pub other: Option<Location>,
}

/// Unpack the first existing one of several caches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreCache {
    /// The caches to try, in this order.
    pub candidates: Vec<Candidate>,
    /// How often each is tried.
    pub attempts: u32,
    /// The cache's files: if they are exactly what was unpacked, it need not be saved again.
    #[serde(default)]
    pub selection: Selection,
    /// The time limit of one transfer in seconds, if any.
    #[serde(default)]
    pub transfer_seconds: Option<u64>,
}

/// Pack and store a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveCache {
    /// Its key, for messages.
    pub key: String,
    /// Its files.
    pub selection: Selection,
    /// The archive's format.
    pub format: Format,
    /// The compression level.
    pub level: Level,
    /// The destination.
    pub to: Location,
    /// The maximum size of the archive in bytes; a larger one is not stored.
    #[serde(default)]
    pub most_bytes: Option<u64>,
    /// The largest archive for one PUT, and the file for a larger one.
    #[serde(default)]
    pub one_put: Option<(u64, PathBuf)>,
    /// Headers to send with the URL.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The fingerprint of the files that are already stored.
    #[serde(default)]
    pub stored: Option<String>,
    /// The time limit of one transfer in seconds, if any.
    #[serde(default)]
    pub transfer_seconds: Option<u64>,
}

/// Upload a packed cache in parts, and remove its file in any case.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadParts {
    /// The archive.
    pub file: PathBuf,
    /// A presigned URL for each part; with none, the file is only removed.
    pub urls: Vec<String>,
    /// The size of each part but the last.
    pub part_bytes: u64,
    /// The time limit of one transfer in seconds, if any.
    pub transfer_seconds: Option<u64>,
}

impl fmt::Debug for UploadParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadParts")
            .field("file", &self.file)
            .field("parts", &self.urls.len())
            .finish_non_exhaustive()
    }
}

/// The artifacts of an earlier job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// That job.
    pub job: JobId,
    /// Its name, for messages.
    pub name: String,
    /// Authorises access to its artifacts.
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
    /// Whether the first try may be redirected to GitLab's object storage
    /// (`FF_USE_DIRECT_DOWNLOAD`).
    pub direct: bool,
    /// The jobs.
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
    /// The artifact's name, without the extension for its format.
    pub name: String,
    /// `archive`, or a kind of report.
    pub kind: String,
    /// How the files are packed.
    pub format: ArtifactFormat,
    /// How long GitLab keeps it; empty means its default.
    pub expire_in: String,
    /// The compression level.
    pub level: Level,
    /// Its files.
    pub selection: Selection,
    /// What the statement beside the files says, if there is to be one.
    #[serde(default)]
    pub statement: Option<Statement>,
}

/// Wait until the job's services take connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitForServices {
    /// Time limit in seconds.
    pub seconds: u64,
    /// Name (for messages), address and ports of each. A service is up once any of its ports is
    /// open.
    pub services: Vec<ServiceAddress>,
}

/// A service and its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceAddress {
    /// Its image, for messages.
    pub name: String,
    /// Its IP address.
    pub address: String,
    /// Its exposed TCP ports.
    pub ports: Vec<u16>,
}
