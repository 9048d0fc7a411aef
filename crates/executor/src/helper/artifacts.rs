//! Artifacts: unpacks those of earlier jobs, uploads the job's own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use onspot_cache::archive::{self, Format, Kind};
use onspot_gitlab::job::ArtifactFormat;
use onspot_gitlab::{ArtifactUpload, Client, ClientOptions, ansi};
use url::Url;

use super::caches::{pack, select, size, unpack};
use super::request::{Download, DownloadArtifacts, HelperAnswer, Place, UploadArtifacts};
use super::statement::Statement;
use super::{HelperError, blocking, place, say, statement};

/// How often a download is tried in each of the job's attempts: as in GitLab Runner.
const TRIES: u32 = 3;

/// The pause before a download is tried again.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

pub(super) async fn download(
    at: &Place,
    request: DownloadArtifacts,
) -> Result<HelperAnswer, HelperError> {
    let client = client(&request.gitlab, request.ca_pem.as_deref())?;
    for download in &request.downloads {
        say(&ansi::info(&format!(
            "Downloading artifacts for {} ({})...",
            download.name, download.job
        )));
        let last = request.attempts.max(1) * TRIES;
        for attempt in 1..=last {
            let direct = request.direct && attempt == 1;
            match download_one(at, &client, download, direct).await {
                Ok(()) => break,
                Err(error) if attempt == last || !is_worth_another_try(&error) => {
                    return Err(error);
                }
                Err(error) => {
                    say(&ansi::warning(&format!("{error}; trying again")));
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
            }
        }
    }
    Ok(HelperAnswer::Done)
}

/// Whether another try may succeed. A broken transfer may have left half an archive, which is only
/// noticed when it is unpacked.
fn is_worth_another_try(error: &HelperError) -> bool {
    match error {
        HelperError::GitLab(error) => error.is_transient(),
        HelperError::Cache(error) => error.is_worth_another_try(),
        _ => true,
    }
}

async fn download_one(
    at: &Place,
    client: &Client,
    download: &Download,
    direct: bool,
) -> Result<(), HelperError> {
    let folder = tempfile::tempdir().map_err(HelperError::file("create", "a temporary folder"))?;
    let file = folder.path().join("artifacts.zip");
    let stream = client
        .download_artifact(download.job, &download.token, direct)
        .await?;
    stream.save(&file).await?;
    let extracted = unpack(at, file).await?;
    say(&format!(
        "extracted {} files and folders",
        extracted.contents.entries
    ));
    Ok(())
}

pub(super) async fn upload(
    at: &Place,
    request: UploadArtifacts,
) -> Result<HelperAnswer, HelperError> {
    say(&ansi::info("Uploading artifacts..."));
    let client = client(&request.gitlab, request.ca_pem.as_deref())?;
    let mut found = select(at, request.selection.clone()).await?;
    if let Some(statement) = request.statement.clone() {
        say("Generating artifacts statement");
        found = with_statement(at, statement, request.name.clone(), found).await?;
    }
    if found.is_empty() {
        say(&ansi::error("no files to upload"));
        return Ok(HelperAnswer::Nothing);
    }
    let folder = tempfile::tempdir().map_err(HelperError::file("create", "a temporary folder"))?;
    let file = folder.path().join("artifacts");
    let packed = |format, found| pack(at, found, format, request.level, file.clone());
    let (ending, bytes) = match &request.format {
        ArtifactFormat::Zip => (".zip", packed(Format::Zip, found).await?),
        ArtifactFormat::ZipZstd => (".zip", packed(Format::ZipZstd, found).await?),
        ArtifactFormat::TarZstd => (".tar.zst", packed(Format::TarZstd, found).await?),
        ArtifactFormat::Gzip => (".gz", gzip(at, found, file.clone()).await?),
        ArtifactFormat::Raw => ("", raw(at, found, file.clone()).await?),
        ArtifactFormat::Other(format) => {
            return Err(HelperError::Request(format!(
                "unknown artifact format {format:?}"
            )));
        }
    };
    let upload = ArtifactUpload {
        name: format!("{}{ending}", request.name),
        format: request.format.as_str().to_owned(),
        kind: request.kind.clone(),
        expire_in: request.expire_in.clone(),
    };
    client
        .upload_artifact(request.job, &request.token, &upload, &file)
        .await?;
    say(&ansi::info(&format!(
        "Uploaded {} ({}, {bytes} bytes)",
        upload.name, upload.kind
    )));
    Ok(HelperAnswer::Stored { bytes })
}

/// The files and the statement about them.
async fn with_statement(
    at: &Place,
    statement: Statement,
    name: String,
    mut files: BTreeSet<PathBuf>,
) -> Result<BTreeSet<PathBuf>, HelperError> {
    let at = at.clone();
    blocking(move || {
        let tree = place::open(&at)?;
        let path = statement::write(&tree, &statement, &name, &files, Timestamp::now())?;
        files.insert(path);
        Ok(files)
    })
    .await
}

/// One gzip member per file, concatenated.
async fn gzip(at: &Place, paths: BTreeSet<PathBuf>, to: PathBuf) -> Result<u64, HelperError> {
    let at = at.clone();
    blocking(move || {
        let tree = place::open(&at)?;
        let failed = |error| HelperError::file("write", &to)(error);
        let mut out = BufWriter::new(File::create(&to).map_err(failed)?);
        for path in files(&tree, &paths) {
            let name = path
                .file_name()
                .map_or_else(Vec::new, |n| n.as_encoded_bytes().to_vec());
            let mut file = contents(&tree, path)?;
            let mut member = flate2::GzBuilder::new()
                .filename(name)
                .write(&mut out, flate2::Compression::default());
            std::io::copy(&mut file, &mut member).map_err(failed)?;
            member.finish().map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        size(&to)
    })
    .await
}

/// The single file unchanged.
async fn raw(at: &Place, paths: BTreeSet<PathBuf>, to: PathBuf) -> Result<u64, HelperError> {
    let at = at.clone();
    blocking(move || {
        let tree = place::open(&at)?;
        let mut files = files(&tree, &paths);
        let (Some(path), None) = (files.next(), files.next()) else {
            return Err(HelperError::Request(
                "an artifact in raw format has to be exactly one file".into(),
            ));
        };
        let mut file = contents(&tree, path)?;
        let mut out = File::create(&to).map_err(HelperError::file("create", &to))?;
        std::io::copy(&mut file, &mut out).map_err(HelperError::file("copy", path))
    })
    .await
}

/// A file's content, no more of it than there is now: it may be growing.
fn contents(tree: &archive::Tree, path: &Path) -> Result<impl Read, HelperError> {
    let file = tree.read(path).map_err(HelperError::file("read", path))?;
    let size = file
        .metadata()
        .map_err(HelperError::file("read", path))?
        .len();
    Ok(file.take(size))
}

fn files<'a>(
    tree: &'a archive::Tree,
    paths: &'a BTreeSet<PathBuf>,
) -> impl Iterator<Item = &'a Path> {
    paths
        .iter()
        .map(PathBuf::as_path)
        .filter(|path| tree.stat(path).is_ok_and(|stat| stat.kind == Kind::File))
}

fn client(gitlab: &str, ca_pem: Option<&str>) -> Result<Client, HelperError> {
    let url = Url::parse(gitlab)
        .map_err(|_| HelperError::Request(format!("GitLab's URL {gitlab:?} is no URL")))?;
    let options = ClientOptions {
        ca_pem: ca_pem.map(|pem| pem.as_bytes().to_vec()),
        ..ClientOptions::default()
    };
    Ok(Client::with_options(&url, options)?)
}
