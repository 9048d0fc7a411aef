//! The files that `up` uploads for the instances: the binary and the helper image.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use bollard::Docker;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::TryStreamExt;
use onspot_executor::{
    DockerExecutor, DockerSettings, Error as ExecutorError, HELPER_IMAGE, RunnerSettings,
};
use onspot_reconcile::{EventSender, Step};
use onspot_settings::Runner;

use crate::cli::Uploads;
use crate::failure::Failure;

/// The binary to upload: the given one, or this one.
pub(crate) fn binary(uploads: &Uploads) -> Result<PathBuf, Failure> {
    match &uploads.binary {
        Some(path) => Ok(path.clone()),
        None => std::env::current_exe().map_err(|error| {
            Failure::caused("cannot find this binary", error).hint("name one: --binary FILE")
        }),
    }
}

/// The helper image to upload: the given file, or the image saved by Docker, which is built first
/// if it is missing and checked to run `binary`. Without Docker there is nothing to upload, and
/// workers build the image themselves.
pub(crate) async fn helper(
    uploads: &Uploads,
    binary: &Path,
    events: &EventSender,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = &uploads.helper {
        return Ok(Some(path.clone()));
    }
    let runner = RunnerSettings::new(Runner::without_gitlab("up"));
    let docker = onspot_settings::Docker::default();
    let settings = DockerSettings::new(runner, docker, binary.to_owned());
    let executor = match DockerExecutor::connect(settings).await {
        Ok(executor) => executor,
        Err(error @ ExecutorError::NoEngine { .. }) => {
            tracing::warn!("{error} here: workers will build the helper image when they boot");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let step = Step::start(events, format!("prepare image {HELPER_IMAGE}"));
    let saved = async {
        executor.prepare().await?;
        saved().await
    };
    match saved.await {
        Ok(path) => {
            step.done(None);
            Ok(Some(path))
        }
        Err(failure) => {
            step.failed(&"no helper image");
            Err(failure)
        }
    }
}

/// The image as a file; each image is saved only once.
async fn saved() -> Result<PathBuf, Failure> {
    let failed = |error| Failure::caused(format!("Docker does not save {HELPER_IMAGE}"), error);
    let docker = Docker::connect_with_local_defaults().map_err(failed)?;
    let docker = docker.negotiate_version().await.map_err(failed)?;
    let image = docker.inspect_image(HELPER_IMAGE).await.map_err(failed)?;
    let id = image.id.unwrap_or_default();
    let path = cache_dir()?.join(format!(
        "helper-{}.tar.gz",
        id.trim_start_matches("sha256:")
    ));
    if !path.exists() {
        save(&docker, &path).await?;
    }
    Ok(path)
}

/// Saves the image atomically, and removes those saved before: there is one helper image at a time.
async fn save(docker: &Docker, path: &Path) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let failed = |error| Failure::caused(format!("cannot write to {}", dir.display()), error);
    for entry in std::fs::read_dir(dir).map_err(failed)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("helper-") {
            // A file that can't be removed only costs disk space.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let partial = path.with_extension(format!("{}.part", std::process::id()));
    // Compressed here once, instead of in every `plan` and `up`.
    let file = BufWriter::new(std::fs::File::create(&partial).map_err(failed)?);
    let mut file = GzEncoder::new(file, Compression::fast());
    let mut parts = docker.export_image(HELPER_IMAGE);
    while let Some(part) = parts
        .try_next()
        .await
        .map_err(|error| Failure::caused(format!("Docker does not save {HELPER_IMAGE}"), error))?
    {
        file.write_all(&part).map_err(failed)?;
    }
    let mut file = file.finish().map_err(failed)?;
    file.flush().map_err(failed)?;
    tokio::fs::rename(&partial, path).await.map_err(failed)
}

/// `$XDG_CACHE_HOME/onspot` or `~/.cache/onspot`.
fn cache_dir() -> Result<PathBuf, Failure> {
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home);
    let dir = base.unwrap_or_else(std::env::temp_dir).join("onspot");
    std::fs::create_dir_all(&dir)
        .map_err(|error| Failure::caused(format!("cannot make {}", dir.display()), error))?;
    Ok(dir)
}
