//! The base image; if no registry can be reached, debootstrap creates it.

use std::path::Path;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::{StreamExt, TryStreamExt};
use tokio_util::io::ReaderStream;

use crate::{Error, Result, command};

/// The base of every Dockerfile.
pub const BASE: &str = "debian:bookworm-slim";

/// Time limit for a pull.
const PULL_BOUND: Duration = Duration::from_mins(3);

/// The environment variable with a Debian mirror for debootstrap, instead of its default.
const MIRROR: &str = "ONSPOT_DEBIAN_MIRROR";

/// Additions of the official slim image to a minimal Debian: fast, small package installs that
/// start no service.
const SLIM: &str = r#"
cd "$1"
echo force-unsafe-io >etc/dpkg/dpkg.cfg.d/docker-apt-speedup
cat >etc/dpkg/dpkg.cfg.d/docker-slim <<'END'
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
path-include=/usr/share/doc/*/copyright
END
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod +x usr/sbin/policy-rc.d
rm -rf usr/share/doc/* usr/share/info/* usr/share/locale/* usr/share/man/* \
  var/cache/apt/archives/*.deb var/cache/apt/*.bin var/lib/apt/lists/* var/log/bootstrap.log
"#;

/// Progress of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is missing or outdated and is being built.
    Building {
        /// The image's name.
        image: String,
    },
    /// It is available.
    Ready {
        /// The image's name.
        image: String,
        /// How long it took to build; `None` if it was available.
        took: Option<Duration>,
    },
}

/// Makes sure that the base image exists: finds, pulls, or creates it.
pub async fn ensure(docker: &Docker, tell: &mut dyn FnMut(Step)) -> Result<()> {
    if inspect(docker, BASE).await?.is_some() {
        return Ok(());
    }
    let begin = Instant::now();
    tell(Step::Building {
        image: BASE.to_owned(),
    });
    if let Err(pull) = pull(docker, BASE).await {
        make(docker).await.map_err(|error| Error::BaseImage {
            image: BASE.to_owned(),
            pull: crate::error::chain(&pull),
            reason: crate::error::chain(&error),
        })?;
    }
    tell(Step::Ready {
        image: BASE.to_owned(),
        took: Some(begin.elapsed()),
    });
    Ok(())
}

/// Pulls an image from its registry.
pub(super) async fn pull(docker: &Docker, image: &str) -> Result<()> {
    let options = CreateImageOptionsBuilder::new().from_image(image).build();
    let pulled = docker
        .create_image(Some(options), None, None)
        .try_collect::<Vec<_>>();
    match tokio::time::timeout(PULL_BOUND, pulled).await {
        Ok(result) => result
            .map(drop)
            .map_err(Error::docker(format!("pull {image}"))),
        Err(_) => Err(Error::Other(format!("pulling {image} took too long"))),
    }
}

/// Runs debootstrap and imports the result.
async fn make(docker: &Docker) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Other("debootstrap needs root".to_owned()));
    }
    if command::run("debootstrap", &["--version"]).await.is_err() {
        command::run("apt-get", &["update", "-qq"]).await?;
        command::run(
            "apt-get",
            &[
                "install",
                "-y",
                "-qq",
                "--no-install-recommends",
                "debootstrap",
            ],
        )
        .await?;
    }
    let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
    let root = folder.path().join("root");
    let root_text = root.display().to_string();
    let mirror = std::env::var(MIRROR).ok();
    let mut arguments = vec!["--variant=minbase", "bookworm", &root_text];
    arguments.extend(mirror.as_deref());
    command::run("debootstrap", &arguments).await?;
    command::run("sh", &["-euc", SLIM, "slim", &root_text]).await?;
    let tar = folder.path().join("root.tar");
    command::run(
        "tar",
        &["-C", &root_text, "-cf", &tar.display().to_string(), "."],
    )
    .await?;
    import(docker, &tar).await
}

async fn import(docker: &Docker, tar: &Path) -> Result<()> {
    let file = tokio::fs::File::open(tar)
        .await
        .map_err(Error::io("open the base image's tar"))?;
    let (repository, tag) = BASE.split_once(':').unwrap_or((BASE, "latest"));
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .changes(vec![r#"CMD ["bash"]"#.to_owned()])
        .build();
    let body = bollard::body_try_stream(ReaderStream::with_capacity(file, 1 << 20));
    let mut progress = std::pin::pin!(docker.create_image(Some(options), Some(body), None));
    while let Some(step) = progress.next().await {
        step.map_err(Error::docker(format!("import {BASE}")))?;
    }
    Ok(())
}

/// The image as the engine knows it, or `None`.
pub(super) async fn inspect(
    docker: &Docker,
    name: &str,
) -> Result<Option<bollard::models::ImageInspect>> {
    match docker.inspect_image(name).await {
        Ok(found) => Ok(Some(found)),
        Err(bollard::errors::Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(source) => Err(Error::Docker {
            what: format!("look at the image {name}"),
            source,
        }),
    }
}
